import type { Command } from 'commander'
import { InvalidRequestError } from '#core/errors.ts'
import type { Batch } from '#store/batches.ts'
import { dropHeldBatch, listBatches, readBatch, readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { readHorizon } from '#store/epochs.ts'
import type { AcceptedLoss, LostRange } from '#store/losses.ts'
import { acceptLoss } from '#store/accept-loss.ts'
import { readTakenOut } from '#store/losses.ts'
import { batchLines, durationMsOf, durationText } from '../batch-text.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions, withLayerOptions } from '../command.ts'
import type { Environment } from '../environment.ts'
import { transactionsTopic } from '../environment.ts'
import { openLogger } from '../logger.ts'
import { Progress, count, print, printJson, printTable } from '../output.ts'
import { addCompact } from './batch-compact.ts'

export function addBatch(program: Command): void {
  const batch = program
    .command('batch')
    .description('the batch layer: archive, recompute, cross-check, publish, roll back')
    .addHelpText('after', '\nExamples:\n  ./tidemark batch run\n  ./tidemark batch list\n  ./tidemark batch rollback && ./tidemark batch resume')
  addRun(batch)
  addListing(batch)
  addDecisions(batch)
  addCompact(batch)
  addAcceptLoss(batch)
  addWork(batch)
}

function addRun(batch: Command): void {
  withCommonOptions(batch.command('run'))
    .description('cut, archive, recompute, cross-check and publish')
    .option('--full', 'decode and recompute every event from the archive\'s original bytes, with the settings of now, instead of those since the last batch')
    .addHelpText('after', '\nExamples:\n  ./tidemark batch run --json\n  TIDEMARK_ZONE=Pacific/Auckland ./tidemark batch run --full      (takes the zone into use; then start the layers again with it)')
    .action(async (options: CommonOptions & { full?: boolean }) => {
      await onEnvironment(options, 'batch run', async (environment, { signal }) => {
        const { runBatchAndTidy } = await import('../batch-layer.ts')
        const progress = new Progress(options.quiet === true)
        const { outcome, pruned, orphans } = await runBatchAndTidy(environment, signal, {
          full: options.full === true,
          onStep: (step, detail) => progress.show(`${step.padEnd(11)} ${detail}`),
        })
        const { batch: published, crossCheck } = outcome
        progress.done(`batch ${published.batch} published after ${progress.seconds.toFixed(1)} s`)
        if (options.json === true) return printJson({ batch: published, crossCheck: crossCheck.summary, files: outcome.files.length, pruned, orphans })
        print(`Batch ${published.batch}: ${count(published.eventsCounted ?? 0)} of ${count(published.eventsRead ?? 0)} new events count. ${crossCheck.summary.text}`)
        if (crossCheck.summary.logic !== undefined) print('Start the layers again with these settings: counting waits for that. "tidemark batch rollback" puts the batch before back, with the same figures.')
      }, { anyLogic: options.full === true })
    })
  withCommonOptions(batch.command('repair'))
    .description('write files that the lake has lost again, from the log')
    .addHelpText('after', '\nExample:\n  ./tidemark batch repair')
    .action(async (options: CommonOptions) => {
      await onEnvironment(options, 'batch repair', async (environment, { signal }) => {
        const { repairLake } = await import('../batch-layer.ts')
        const repaired = await repairLake(environment, signal)
        if (options.json === true) printJson({ repaired })
        else print(repaired.length === 0 ? 'Every registered file is there.' : `Wrote ${repaired.length} files again:\n  ${repaired.join('\n  ')}`)
      })
    })
}

function addListing(batch: Command): void {
  withCommonOptions(batch.command('list'))
    .description('the batches, newest first; * marks the one that serves')
    .addHelpText('after', '\nExample:\n  ./tidemark batch list --json')
    .action(async (options: CommonOptions) => {
      await onEnvironment(options, 'batch list', async ({ database }) => {
        const [batches, pointer] = await Promise.all([listBatches(database.pool), readPointer(database.pool)])
        if (options.json === true) return printJson({ batches, pointer })
        printTable(
          ['batch', 'status', 'kind', 'epoch', 'published', 'took', 'events', 'cross-check'],
          batches.map((one) => describe(one, pointer.batch)),
          99,
        )
        if (pointer.pausedReason !== null) print(`Publishing is paused: ${pointer.pausedReason}. "tidemark batch resume" lets it go on.`)
      })
    })
  withCommonOptions(batch.command('show <batch>'))
    .description('one batch: horizon, inputs, durations, cross-check; of a held one why, and what may be done')
    .addHelpText('after', '\nExamples:\n  ./tidemark batch show 3\n  ./tidemark batch show 3 --json')
    .action(async (batchText: string, options: CommonOptions) => {
      await onEnvironment(options, 'batch show', async (environment) => {
        const { pool } = environment.database
        const one = await readBatch(pool, numberOf(batchText))
        const [horizon, pointer] = await Promise.all([readHorizon(pool, one.epoch), readPointer(pool)])
        if (options.json === true) return printJson({ ...one, horizon })
        for (const line of batchLines({ batch: one, horizon, isServing: pointer.batch === one.batch })) print(line)
      })
    })
}

function describe(batch: Batch, serving: number): string[] {
  const check = batch.crossCheck as { result?: string; corrections?: number } | null
  const result = check?.result === undefined ? (batch.message ?? '') : check.corrections ? `${check.result} (${check.corrections})` : check.result
  const durationMs = durationMsOf(batch)
  return [
    `${batch.batch}${batch.batch === serving ? '*' : ''}`,
    batch.status,
    batch.kind,
    String(batch.epoch),
    batch.publishedAt?.toISOString().slice(0, 19).replace('T', ' ') ?? '',
    durationMs === null ? '' : durationText(durationMs),
    batch.eventsCounted === null ? '' : count(batch.eventsCounted),
    result,
  ]
}

function addDecisions(batch: Command): void {
  decision(batch, 'rollback [batch]', 'serve an earlier batch again (the one before by default); the figures stay as they are, and publishing pauses', async ({ database }, batchText) => {
    const target = await rollBack(database, batchText === undefined ? undefined : numberOf(batchText))
    return { batch: target.batch, text: `Batch ${target.batch} serves. Publishing is paused until "tidemark batch resume".` }
  })
  decision(batch, 'resume', 'let publishing go on after a roll-back', async ({ database }) => {
    const reason = await resumePublishing(database)
    return { wasPaused: reason, text: reason === null ? 'Publishing was not paused.' : `Publishing goes on; it was paused: ${reason}.` }
  })
  decision(batch, 'accept <batch>', 'publish a held batch; the unexplained difference is booked as accepted', async ({ database }, batchText) => {
    const { acceptHeldBatch } = await import('#batch/run.ts')
    const accepted = await acceptHeldBatch(database, numberOf(batchText ?? ''))
    return { batch: accepted.batch, text: `Batch ${accepted.batch} serves, its difference booked as accepted.` }
  })
  decision(batch, 'drop <batch>', 'give a held batch up; the one before goes on serving', async ({ database }, batchText) => {
    await dropHeldBatch(database, numberOf(batchText ?? ''))
    return { batch: numberOf(batchText ?? ''), text: `Batch ${batchText} is dropped.` }
  })
}

function decision(parent: Command, usage: string, text: string, decide: (environment: Environment, batchText: string | undefined) => Promise<{ text: string }>): void {
  const [name = ''] = usage.split(' ')
  const command = withCommonOptions(parent.command(usage)).description(text).addHelpText('after', `\nExample:\n  ./tidemark batch ${usage.replace(/[[<]batch[\]>]/, '3')}`)
  command.action(async (...given: unknown[]) => {
    const options = command.opts<CommonOptions>()
    const batchText = typeof given[0] === 'string' ? given[0] : undefined
    await onEnvironment(options, `batch ${name}`, async (environment) => {
      const { text: said, ...result } = await decide(environment, batchText)
      if (options.json === true) printJson(result)
      else print(said)
    })
  })
}

function addAcceptLoss(batch: Command): void {
  withCommonOptions(batch.command('accept-loss <ranges...>'))
    .description('give up ranges of the log that are gone, as PARTITION:FROM-TO; a batch takes what was counted of them out of the figures')
    .option('--topic <topic>', 'of the ranges', transactionsTopic)
    .option('--no-batch', 'leave that to the next batch')
    .addHelpText('after', '\nExample:\n  ./tidemark batch accept-loss 2:1200-1850          ("tidemark status" names what is missing)')
    .action(async (ranges: string[], options: CommonOptions & { topic: string; batch: boolean }) => {
      await onEnvironment(options, 'batch accept-loss', async (environment, { signal }) => {
        const log = await environment.log()
        const accepted: AcceptedLoss[] = []
        for (const range of ranges.map((text) => rangeOf(options.topic, text))) {
          accepted.push(await acceptLoss(environment.database, log, range, signal))
        }
        const counted = accepted.reduce((sum, loss) => sum + loss.eventsCounted, 0)
        let takenOut: unknown = null
        if (options.batch && counted > 0) {
          const { runBatchAndTidy } = await import('../batch-layer.ts')
          const progress = new Progress(options.quiet === true)
          const { outcome } = await runBatchAndTidy(environment, signal, { onStep: (step, detail) => progress.show(`${step.padEnd(11)} ${detail}`) })
          progress.done(`batch ${outcome.batch.batch} published after ${progress.seconds.toFixed(1)} s`)
          takenOut = await readTakenOut(environment.database.pool, outcome.batch.batch)
        }
        if (options.json === true) return printJson({ accepted, takenOut })
        for (const loss of accepted) print(`Given up: ${loss.topic} ${loss.partition}:${loss.from}-${loss.to} (${loss.what}); ${count(loss.eventsCounted)} of its events had been counted.`)
        if (takenOut !== null) print(`Taken out of the figures, by currency: ${JSON.stringify(takenOut)}`)
        else if (counted > 0) print('"tidemark batch run" takes them out of the figures.')
      })
    })
}

function rangeOf(topic: string, text: string): LostRange {
  const [, partition, from, to] = /^(\d{1,5}):(\d{1,15})-(\d{1,15})$/.exec(text) ?? []
  if (partition === undefined || Number(from) >= Number(to)) throw new InvalidRequestError(`A range such as 2:1200-1850 (partition, first offset, offset behind the last) is expected, not "${text}".`)
  return { topic, partition: Number(partition), from: Number(from), to: Number(to) }
}

function addWork(batch: Command): void {
  withLayerOptions(batch.command('work'))
    .description('run all schedules until stopped: archive, nightly batch, reports of the periods just closed')
    .addHelpText('after', '\nExample:\n  TIDEMARK_NIGHTLY_AT=03:00 ./tidemark batch work')
    .action(async (options: CommonOptions) => {
      await onEnvironment(options, 'batch work', async (environment, { signal }) => {
        const [{ keepMarking }, { workOnSchedules }] = await Promise.all([import('../batch-layer.ts'), import('../schedule-layer.ts')])
        const logger = openLogger('batch', environment.settings.logLevel)
        process.send?.({ ready: true })
        await Promise.all([workOnSchedules(environment, signal, logger), keepMarking(environment, signal, (fields, text) => logger.warn(fields, text))])
      })
      if (process.exitCode === 130) process.exitCode = 0
    })
}

function numberOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidRequestError(`"${text}" is no batch number. "tidemark batch list" shows them.`)
  return Number(text)
}
