import type { Command } from 'commander'
import { ConfigError } from '#core/errors.ts'
import type { LogAppend, Vector } from '#core/ports.ts'
import { isWorkerAlive, readCommitted } from '#store/committed.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import type { Environment } from '../environment.ts'
import { topics, transactionsTopic } from '../environment.ts'
import { openLogger } from '../logger.ts'
import { Progress, count, print, printJson } from '../output.ts'
import { sleep } from '../process-control.ts'
import { readLines, recordOfLine } from '../record-lines.ts'
import { runSpeedLayer } from '../speed-layer.ts'

const appendRecordsMax = 10_000
const appendBytesMax = 8 * 1024 * 1024
const pollMs = 50
/** A running worker that counts nothing for so long gets help. */
const helpAfterMs = 10_000
const aliveSeconds = 12

type IngestOptions = CommonOptions & { readonly topic: string; readonly source?: string; readonly wait: boolean }

export function addIngest(program: Command): void {
  withCommonOptions(program.command('ingest <files...>'))
    .description('append the lines of files (- is standard input) to the log, and wait until they are counted')
    .option('--topic <name>', `one of ${topics.join(', ')}`, transactionsTopic)
    .option('--source <name>', 'name space of the ids in these lines (default: the topic)')
    .option('--no-wait', 'return when the log has the lines')
    .addHelpText('after', '\nExamples:\n  ./tidemark ingest sales.csv refunds.jsonl\n  zcat old.csv.gz | ./tidemark ingest - --source old-shop')
    .action(async (files: string[], options: IngestOptions) => {
      await onEnvironment(options, 'ingest', (environment, { signal }) => ingest(environment, files, options, signal))
    })
}

async function ingest(environment: Environment, files: readonly string[], options: IngestOptions, signal: AbortSignal): Promise<void> {
  if (!(topics as readonly string[]).includes(options.topic)) throw new ConfigError(`There is no topic ${options.topic}: ${topics.join(', ')}.`)
  const log = await environment.log()
  const progress = new Progress(options.quiet === true)
  let records = 0
  let bytes = 0
  let ends: Vector = new Map()
  let batch: LogAppend[] = []
  let batchBytes = 0
  const append = async (): Promise<void> => {
    if (batch.length === 0) return
    ends = new Map([...ends, ...(await log.append(options.topic, batch))])
    records += batch.length
    bytes += batchBytes
    batch = []
    batchBytes = 0
    progress.show(`${count(records)} lines · ${count(Math.round(records / progress.seconds))}/s`)
  }
  const lines = { decoder: environment.decoder, topic: options.topic, source: options.source ?? null }
  for (const file of files) {
    for await (const line of readLines(file)) {
      if (signal.aborted) break
      batch.push(recordOfLine(line, lines, Date.now()))
      batchBytes += line.length
      if (batch.length >= appendRecordsMax || batchBytes >= appendBytesMax) await append()
    }
  }
  await append()
  progress.done(`${count(records)} lines are in the log (${count(Math.round(records / Math.max(progress.seconds, 0.001)))}/s)`)
  const counted = options.topic === transactionsTopic && options.wait && !signal.aborted
  if (counted) await waitUntilCounted(environment, ends, progress, signal)
  if (options.json === true) printJson({ records, bytes, counted, ends: Object.fromEntries(ends) })
  else print(`${count(records)} lines ${counted ? 'are in the figures, or named as copies and dead letters' : 'are in the log'}.`)
}

/** Waits for the running speed layer; where none runs, counts here. */
export async function waitUntilCounted(environment: Environment, ends: Vector, progress: Progress, signal: AbortSignal): Promise<void> {
  const { pool } = environment.database
  const own = new AbortController()
  let running: Promise<void> | null = null
  let failure: { readonly thrown: unknown } | null = null
  let left = Infinity
  let progressedAt = performance.now()
  if (!(await isWorkerAlive(pool, aliveSeconds))) progressedAt = -helpAfterMs
  try {
    for (;;) {
      const committed = await readCommitted(pool, transactionsTopic)
      const now = [...ends].reduce((sum, [partition, end]) => sum + Math.max(0, end - (committed.get(partition) ?? 0)), 0)
      if (now === 0 || signal.aborted) return
      if (now < left) progressedAt = Math.max(progressedAt, left === Infinity ? progressedAt : performance.now())
      left = now
      progress.show(`${count(left)} lines to count`)
      if (failure !== null) throw (failure as { readonly thrown: unknown }).thrown
      if (running === null && performance.now() - progressedAt >= helpAfterMs) {
        running = runSpeedLayer(environment, openLogger('speed', 'warn'), AbortSignal.any([signal, own.signal])).catch((thrown: unknown) => {
          failure = { thrown }
        })
      }
      await sleep(pollMs, signal)
    }
  } finally {
    own.abort()
    await running
  }
}
