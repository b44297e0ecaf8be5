import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { rename } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import type { Command } from 'commander'
import { ConfigError } from '#core/errors.ts'
import type { LogAppend } from '#core/ports.ts'
import type { GeneratedRecord } from '#generator/fact.ts'
import type { HistoryOptions } from '#generator/history.ts'
import { generateEvents, planHistory } from '#generator/history.ts'
import { LiveShop } from '#generator/live.ts'
import { PROFILE_NAMES, profileNamed } from '#generator/profiles.ts'
import { Truth, truthText } from '#generator/truth.ts'
import type { CommonOptions } from '../command.ts'
import { guarded, onEnvironment, settingsOf, withCommonOptions } from '../command.ts'
import { transactionsTopic } from '../environment.ts'
import { Progress, count, print, printJson } from '../output.ts'
import { controlProcess, sleep } from '../process-control.ts'

const dayMs = 86_400_000
const appendRecordsMax = 10_000
const liveStepMs = 50

type GenerateOptions = CommonOptions & {
  readonly events?: string
  readonly seed: string
  readonly profile: string
  readonly out?: string
  readonly truth?: string
  readonly rate?: string
  readonly from?: string
  readonly to?: string
  readonly currencies?: boolean
}

export function addGenerate(program: Command): void {
  withCommonOptions(program.command('generate'))
    .description('the shop simulator: lines to a file, or events to the log, with the true answers beside them')
    .option('--events <n>', 'how many events (default: the profile\'s own number; with --rate: until stopped)')
    .option('--seed <n>', 'the same seed, --from and --to give the same bytes', '1')
    .option('--profile <name>', PROFILE_NAMES.join(', '), 'shop')
    .option('--out <file>', 'write lines to this file (default: append to the log)')
    .option('--truth <file>', 'write the true answers here')
    .option('--rate <n>', 'live traffic to the log, so many events a second')
    .option('--from <day>', 'first day of the history (default: as long before --to as the profile has days)')
    .option('--to <day>', 'the history ends before this day (default: today)')
    .option('--currencies', 'some cities sell in their own currency')
    .addHelpText('after', '\nExamples:\n  ./tidemark generate --events 100000 --seed 7 --out shop.txt --truth shop-truth.json\n  ./tidemark generate --rate 50 --events 3000 --truth live-truth.json')
    .action(async (options: GenerateOptions) => {
      if (options.out !== undefined && options.rate === undefined) await guarded(() => generateToFile(options))
      else if (options.out !== undefined) await guarded(async () => Promise.reject(new ConfigError('--rate is live traffic to the log; it does not go with --out.')))
      else await onEnvironment(options, 'generate', async (environment, { signal }) => {
        const log = await environment.log()
        const append = async (records: readonly LogAppend[]): Promise<void> => {
          await log.append(transactionsTopic, records)
        }
        await (options.rate === undefined ? generateHistoryToLog(options, append, signal) : generateLive(options, append, signal))
      })
    })
}

function wholeOption(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback
  if (!/^\d{1,15}$/.test(text)) throw new ConfigError(`--${name} takes a whole number, not "${text}".`)
  return Number(text)
}

function historyOptions(options: GenerateOptions, portable: boolean): HistoryOptions {
  const settings = settingsOf(options)
  const profile = profileNamed(options.profile)
  const toMs = options.to === undefined ? Math.floor(Date.now() / dayMs) * dayMs : dayOption('to', options.to)
  const fromMs = options.from === undefined ? toMs - profile.defaultDays * dayMs : dayOption('from', options.from)
  const events = wholeOption('events', options.events, profile.defaultEvents)
  const { zone, currency } = settings
  const seed = wholeOption('seed', options.seed, 1)
  return { profile: profile.name, seed, events, fromMs, toMs, zone, currency, portable, mixedCurrencies: options.currencies === true }
}

function dayOption(name: string, text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  if (Number.isNaN(ms)) throw new ConfigError(`--${name} takes a day such as 2025-01-01, not "${text}".`)
  return ms
}

async function generateToFile(options: GenerateOptions): Promise<void> {
  const { signal } = controlProcess()
  const history = historyOptions(options, true)
  const truth = new Truth(planHistory(history).origin)
  const progress = new Progress(options.quiet === true)
  let records = 0
  await writeFile(options.out!, async (out) => {
    let text: Buffer[] = []
    for (const record of generateEvents(history)) {
      if (signal.aborted) throw new ConfigError('Interrupted; the file was not written.')
      text.push(Buffer.from(record.append.value), newline)
      truth.add(record)
      if (++records % 5_000 !== 0) continue
      await writeChunk(out, Buffer.concat(text))
      text = []
      progress.show(`${count(records)} lines · ${count(Math.round(records / progress.seconds))}/s`)
    }
    await writeChunk(out, Buffer.concat(text))
  })
  await writeTruth(options, truth)
  progress.done(`${count(records)} lines in ${options.out}`)
  report(options, truth, records)
}

const newline = Buffer.from('\n')

async function generateHistoryToLog(options: GenerateOptions, append: (records: readonly LogAppend[]) => Promise<void>, signal: AbortSignal): Promise<void> {
  // Kafka gives records its own log time, so what is rubbish must not depend on it.
  const history = historyOptions(options, settingsOf(options).logUrl.startsWith('kafka://'))
  const truth = new Truth(planHistory(history).origin)
  const progress = new Progress(options.quiet === true)
  const records = await appendHistory(generateEvents(history), append, signal, (appended) => {
    progress.show(`${count(appended)} records · ${count(Math.round(appended / progress.seconds))}/s`)
  }, truth)
  await writeTruth(options, truth)
  progress.done(`${count(records)} records are in the log`)
  report(options, truth, records)
}

/** Appends generated records in large batches, with the log times they came with; the truth counts only what the log took. */
export async function appendHistory(
  records: Iterable<GeneratedRecord>,
  append: (records: readonly LogAppend[]) => Promise<void>,
  signal: AbortSignal,
  onAppended: (records: number) => void,
  truth?: Truth,
): Promise<number> {
  let batch: GeneratedRecord[] = []
  let appended = 0
  const send = async (): Promise<void> => {
    await append(batch.map((record) => record.append))
    for (const record of batch) truth?.add(record)
    appended += batch.length
    batch = []
    onAppended(appended)
  }
  for (const record of records) {
    if (signal.aborted) break
    batch.push(record)
    if (batch.length >= appendRecordsMax) await send()
  }
  if (batch.length > 0 && !signal.aborted) await send()
  return appended
}

async function generateLive(options: GenerateOptions, append: (records: readonly LogAppend[]) => Promise<void>, signal: AbortSignal): Promise<void> {
  const { zone, currency } = settingsOf(options)
  const rate = wholeOption('rate', options.rate, 50)
  const eventsMax = wholeOption('events', options.events, Infinity)
  const shop = new LiveShop({
    profile: profileNamed(options.profile).name,
    seed: wholeOption('seed', options.seed, 1),
    ratePerSecond: rate,
    zone,
    currency,
    startMs: Date.now(),
    mixedCurrencies: options.currencies === true,
  })
  const truth = new Truth(shop.origin)
  const progress = new Progress(options.quiet === true)
  let events = 0
  let records = 0
  while (!signal.aborted && events < eventsMax) {
    const due = shop.recordsUntil(Date.now())
    if (due.length > 0) {
      await append(due.map((record) => record.append))
      for (const record of due) {
        truth.add(record)
        records++
        events += Math.max(1, record.means.length)
      }
      progress.show(`${count(events)} events at ${rate}/s`)
    }
    await sleep(liveStepMs, signal)
  }
  await writeTruth(options, truth)
  progress.done(`${count(events)} events are in the log`)
  report(options, truth, records)
}

function report(options: GenerateOptions, truth: Truth, records: number): void {
  const { revenue, products, ...summary } = truth.toFile()
  if (options.json === true) printJson({ ...summary, records, revenueCells: revenue.length, productCells: products.length })
  else print(`${count(summary.records)} records: ${count(summary.events)} events count, ${count(summary.copies)} copies, ${count(summary.conflicts)} conflicts, ${count(Object.values(summary.refusedByReason).reduce((sum, n) => sum + n, 0))} refused.`)
}

async function writeTruth(options: GenerateOptions, truth: Truth): Promise<void> {
  if (options.truth === undefined) return
  await writeFile(options.truth, async (out) => {
    for (const chunk of truthText(truth.toFile())) await writeChunk(out, chunk)
  })
}

/** Whole or not at all: written beside, then renamed. */
async function writeFile(path: string, write: (out: Writable) => Promise<void>): Promise<void> {
  const unfinished = `${path}.unfinished`
  const out = createWriteStream(unfinished)
  try {
    await once(out, 'open')
  } catch (thrown) {
    throw new ConfigError(`${path} cannot be written.`, { path }, thrown)
  }
  await write(out)
  out.end()
  await once(out, 'close')
  await rename(unfinished, path)
}

async function writeChunk(out: Writable, chunk: Buffer | string): Promise<void> {
  if (!out.write(chunk)) await once(out, 'drain')
}
