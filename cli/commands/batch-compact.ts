import type { Command } from 'commander'
import type { Merge } from '#batch/compact.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { Progress, count, print, printJson, printTable } from '../output.ts'

export function addCompact(batch: Command): void {
  withCommonOptions(batch.command('compact'))
    .description('merge small files of the archive; every batch that publishes does it too. Figures and reports stay as they are')
    .option('--dry-run', 'list what would be merged, and merge nothing')
    .addHelpText('after', '\nExamples:\n  ./tidemark batch compact --dry-run\n  ./tidemark batch compact --json')
    .action(async (options: CommonOptions & { dryRun?: boolean }) => {
      await onEnvironment(options, 'batch compact', async (environment, { signal }) => {
        const { compactLake, compactOptions } = await import('../batch-layer.ts')
        if (options.dryRun === true) {
          const { planCompaction } = await import('#batch/compact.ts')
          return tellPlan(await planCompaction(await compactOptions(environment, signal)), options.json === true)
        }
        const progress = new Progress(options.quiet === true)
        const { merged, overtaken, waitsFor } = await compactLake(environment, signal, (_, { done, of }) => progress.show(`${done} of ${of} merged files written`))
        const files = merged.reduce((sum, { from }) => sum + from.length, 0)
        const rows = merged.reduce((sum, { into }) => sum + into.rows, 0)
        progress.done(`compacted in ${progress.seconds.toFixed(1)} s`)
        if (options.json === true) {
          return printJson({ merged: merged.map(({ from, into }) => ({ into: into.path, rows: into.rows, bytes: into.bytes, from: from.map((file) => file.path) })), overtaken, waitsFor })
        }
        print(files === 0 ? 'There is nothing to merge.' : `Merged ${count(files)} files into ${count(merged.length)}, of ${count(rows)} rows. The old ones leave the lake after the grace of orphans.`)
        if (overtaken > 0) print(`${count(overtaken)} merges were given up, since somebody else had swapped their files first.`)
        if (waitsFor !== null) print(`Batch ${waitsFor} decodes the archive again or is held: compaction waits for it. "tidemark batch show ${waitsFor}" tells of it.`)
      })
    })
}

function tellPlan(merges: readonly Merge[], isJson: boolean): void {
  const plan = merges.map((files) => {
    const [first] = files as readonly [Merge[number]]
    return { topic: first.topic, partition: first.partition, epoch: first.epoch, fromOffset: first.fromOffset, toOffset: files.at(-1)!.toOffset, files: files.length, rows: files.reduce((sum, file) => sum + file.rows, 0) }
  })
  if (isJson) return printJson({ merges: plan })
  if (plan.length === 0) return print('There is nothing to merge.')
  printTable(
    ['topic', 'partition', 'epoch', 'offsets', 'files', 'rows'],
    plan.map((one) => [one.topic, String(one.partition), String(one.epoch), `${one.fromOffset}-${one.toOffset}`, count(one.files), count(one.rows)]),
    1,
  )
}
