/**
 * A range of the log, read from the lake instead: the archive keeps each record's bytes, headers and log time. Used where the log has forgotten what the
 * store has not counted, which happens when the database was put back and the log went on. Files that the register knows come first; after a restore
 * those it does not know (yet or any more) will do, as each was verified before it got its name. A record whose bytes were erased comes as its columns say it.
 */
import type { Lake, LogBatch, LogRecord, QueryEngine } from '#core/ports.ts'
import type { Queryable } from '#store/database.ts'
import { filesOfRange } from '#store/register.ts'
import { isWhole } from './file-digest.ts'
import { standInFor } from './erased-record.ts'
import { logRecordOf, readFileRecords } from './file-rows.ts'
import { orphanFolder } from './orphans.ts'

export type LakeRangeOptions = { readonly queryable: Queryable; readonly lake: Lake; readonly engine: QueryEngine }

type RangeFile = { readonly path: string; readonly from: number; readonly to: number }

/** The records of `from` inclusive to `to` exclusive, in order; null where the lake does not hold the whole range. */
export async function readLakeRange(options: LakeRangeOptions, topic: string, partition: number, from: number, to: number): Promise<AsyncIterable<LogBatch> | null> {
  const registered = await filesOfRange(options.queryable, topic, partition, from, to)
  const known: RangeFile[] = []
  for (const file of registered) {
    if (file.rows === 0 || (await isWhole(options.lake, file))) known.push({ path: file.path, from: file.fromOffset, to: file.toOffset })
  }
  // One that is registered and not whole must not come in by its name.
  const others = (await findFiles(options.lake, topic, partition)).filter(({ path }) => !registered.some((file) => file.path === path))
  const chain = chainOf(known, from, to) ?? chainOf([...known, ...others], from, to)
  if (chain === null) return null
  return readChain(options, partition, chain, from, to)
}

/** Finished files by their names, `<topic>+<partition>+<from>+<to>+<id>.parquet`, moved aside or not. */
async function findFiles(lake: Lake, topic: string, partition: number): Promise<RangeFile[]> {
  const found: RangeFile[] = []
  const name = new RegExp(`^${topic.replaceAll(/[^A-Za-z0-9_]/g, '\\$&')}\\+${partition}\\+(\\d+)\\+(\\d+)\\+[^+/]+\\.parquet$`)
  for (const prefix of [`${topic}/`, `${orphanFolder}${topic}/`]) {
    for await (const { path } of lake.list(prefix)) {
      const range = name.exec(path.slice(path.lastIndexOf('/') + 1))
      if (range !== null) found.push({ path, from: Number(range[1]), to: Number(range[2]) })
    }
  }
  return found
}

/** Files that cover the range without a hole, each as far as it reaches; null where there is one. */
function chainOf(files: readonly RangeFile[], from: number, to: number): RangeFile[] | null {
  const chain: RangeFile[] = []
  for (let at = from; at < to; ) {
    const next = files.filter((file) => file.from <= at && file.to > at).sort((a, b) => b.to - a.to)[0]
    if (next === undefined) return null
    chain.push(next)
    at = next.to
  }
  return chain
}

async function* readChain(options: LakeRangeOptions, partition: number, chain: readonly RangeFile[], from: number, to: number): AsyncGenerator<LogBatch> {
  let at = from
  for (const file of chain) {
    const end = Math.min(file.to, to)
    for await (const records of readFile(options, file)) {
      const wanted = records.filter((record) => record.offset >= at && record.offset < end)
      if (wanted.length === 0) continue
      const next = wanted.at(-1)!.offset + 1
      yield { partition, from: at, to: next, records: wanted }
      at = next
    }
    if (at < end) yield { partition, from: at, to: end, records: [] }
    at = end
  }
}

const recordsPerBatch = 1_000

async function* readFile({ engine }: LakeRangeOptions, file: RangeFile): AsyncGenerator<LogRecord[]> {
  // A range without records has no file.
  if (file.path.startsWith('none/')) return
  let records: LogRecord[] = []
  for await (const rows of readFileRecords(engine, file.path)) {
    records.push(logRecordOf(rows) ?? standInFor(rows))
    if (records.length < recordsPerBatch) continue
    yield records
    records = []
  }
  if (records.length > 0) yield records
}
