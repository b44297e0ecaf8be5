/** Row L21 of the fault catalogue, and what may go wrong while files of the archive are merged: crashes, another compactor, a batch that reads, a sweeper. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { archiveColumns } from '#batch/archive-columns.ts'
import type { CompactOptions } from '#batch/compact.ts'
import { compactArchive, planCompaction } from '#batch/compact.ts'
import { sweepOrphans } from '#batch/orphans.ts'
import { shareArchive, sharedName } from '#batch/share.ts'
import { ConflictError, CorruptError } from '#core/errors.ts'
import type { QueryEngine } from '#core/ports.ts'
import { diskLakeFaultPoints } from '#engines/disk-lake.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openTrino } from '#engines/trino.ts'
import { readArchiveTotals } from '#store/archive-totals.ts'
import { inTransaction } from '#store/database.ts'
import type { ArchiveFile } from '#store/register.ts'
import { checkTiling, swapFiles } from '#store/register.ts'
import { openTestLake, runOnTrino, testTrinoUrl } from '#test/contract/trino-lake.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { checkExact } from '#test/lab/merged.ts'
import { countAll, expectOnlyRegistered, registeredFiles, sweepTopic } from './lake-steps.ts'
import { isWhole, plainSales, runBatchWith } from './setup.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

function optionsOf(overrides: Partial<CompactOptions> = {}): CompactOptions {
  const { database, lake, engine } = lab
  return { database, lake, engine, codec: parquetCodec, fileOffsetsMax: 250_000, signal: new AbortController().signal, ...overrides }
}

/** Counts so many sales and files them by ones, as an archive every second would in a quiet shop. */
async function fillFinely(records: number, prefix: string, fileOffsetsMax = 1): Promise<void> {
  await lab.append(plainSales(lab, records, prefix))
  await countAll(lab)
  await runBatchWith(lab, { fileOffsetsMax })
}

/** Every row that is registered, by position, with every column. */
async function rowsOf(files: readonly ArchiveFile[], engine: QueryEngine = lab.engine): Promise<string[]> {
  const paths = files.filter((file) => file.rows > 0).map((file) => file.path)
  await engine.attach('every_row', paths, archiveColumns)
  const columns = archiveColumns.map(({ name, type }) => (type === 'bytes' ? `to_base64(${name})` : type === 'timestamp' ? `CAST(${name} AS varchar)` : name))
  const rows: string[] = []
  for await (const batch of engine.query(`SELECT ${columns.join(', ')} FROM every_row ORDER BY log_partition, log_offset, record_index`)) {
    for (const row of batch.rows) rows.push(row.map(String).join('|'))
  }
  await engine.detach('every_row')
  return rows
}

async function countBelow(prefix: string): Promise<number> {
  let files = 0
  for await (const _ of lab.lake.list(prefix)) files++
  return files
}

const ofTopic = async (): Promise<ArchiveFile[]> => (await registeredFiles(lab)).filter((file) => file.topic === lab.topic)

describe('L21 a storm of small files, then compaction', () => {
  test('the result is the same before, during and after, and what comes then is counted by the rows that were merged', async () => {
    const files = isWhole ? 5_000 : 200
    await fillFinely(files, 'a')
    await fillFinely(30, 'b')
    const before = await ofTopic()
    expect(before).toHaveLength(files + 30)
    const rows = await rowsOf(before)
    let looks = 0
    const outcome = await compactArchive(
      optionsOf({
        fileOffsetsMax: Math.ceil(files / 6),
        beforeSwap: async () => {
          if (looks++ > 1) return
          // Copies of what is being merged, and something new.
          await lab.append([...plainSales(lab, 40, 'a'), ...plainSales(lab, 9, `during-${looks}`)])
          await countAll(lab)
          expect((await runBatchWith(lab)).batch).toMatchObject({ eventsRead: 49, eventsCounted: 9 })
          await checkExact(lab)
        },
      }),
    )
    expect(outcome).toMatchObject({ overtaken: 0, waitsFor: null })
    expect(outcome.merged.length).toBeGreaterThanOrEqual(9)
    const after = await ofTopic()
    expect(after.filter((file) => file.epoch <= 2).length).toBeLessThanOrEqual(12)
    expect(await rowsOf(after.filter((file) => file.epoch <= 2))).toEqual(rows)
    await checkTiling(lab.database.pool, 2)
    await lab.append([...plainSales(lab, 60, 'a'), ...plainSales(lab, 6, 'after')])
    await countAll(lab)
    expect((await runBatchWith(lab)).batch).toMatchObject({ eventsRead: 66, eventsCounted: 6 })
    expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
    // The storm is over once the sweeper has been: nothing but what is registered is left in the topic's folder.
    expect(await sweepTopic(lab, lab.lake)).toHaveLength(files + 30)
    await expectOnlyRegistered(lab, lab.lake)
    expect(await readArchiveTotals(lab.database.pool)).toMatchObject([{ kind: 'batch' }, { kind: 'compaction', runs: 1, files: outcome.merged.length, rows: files + 30 }])
  })

  const skip = testEngine('trino') === null || testEngine('hdfs') === null
  test(`through Trino: the engine's own table reads the same before, between and after${whereMissing('trino', 'hdfs')}`, { skip, timeout: 180_000 }, async () => {
    await using opened = await openTestLake()
    await using engine = await openTrino({ url: testTrinoUrl(), lake: opened.lake, sharedSchema: `compact_${sharedName(lab.topic)}` })
    const shared = `compact_${sharedName(lab.topic)}`
    const ask = async (): Promise<unknown[][]> => runOnTrino(`SELECT count(*), sum(log_offset), sum(total_minor), count(DISTINCT event_id) FROM ${shared}.${sharedName(lab.topic)}`)
    const on = { lake: opened.lake, engine }
    await lab.append(plainSales(lab, 45, 'a'))
    await countAll(lab)
    await runBatchWith(lab, { ...on, fileOffsetsMax: 3 })
    const before = await ask()
    expect(before).toEqual([[45, expect.anything(), expect.anything(), 45]])
    const rows = await rowsOf(await ofTopic(), engine)
    const { merged } = await compactArchive(optionsOf({ ...on, beforeSwap: async () => expect(await ask()).toEqual(before) }))
    expect(merged).toHaveLength(3)
    // The table names the old files still, and then the new ones.
    expect(await ask()).toEqual(before)
    await shareArchive({ database: lab.database, engine, topic: lab.topic })
    expect(await ask()).toEqual(before)
    expect(await rowsOf(await ofTopic(), engine)).toEqual(rows)
    // Its old files leave only now that the table names the new ones.
    expect(await sweepTopic(lab, opened.lake)).toHaveLength(15)
    expect(await ask()).toEqual(before)
    await lab.append(plainSales(lab, 48, 'a'))
    await countAll(lab)
    expect((await runBatchWith(lab, on)).batch).toMatchObject({ eventsRead: 48, eventsCounted: 3 })
    await checkExact(lab)
    await runOnTrino(`DROP SCHEMA ${shared} CASCADE`).catch(() => undefined)
  })
})

describe('files are merged', () => {
  test('up to the size given, by partition and epoch, so that none straddles a cut, and those of the epoch being written where it pays', async () => {
    for (const prefix of ['a', 'b', 'c']) await fillFinely(30, prefix, 3)
    const { merged } = await compactArchive(optionsOf({ fileOffsetsMax: 7 }))
    // Ten offsets a partition and epoch, in files of 3, 3, 3 and 1.
    expect((await ofTopic()).map(({ rows }) => rows)).toEqual(Array.from({ length: 9 }, () => [6, 4]).flat())
    expect(merged).toHaveLength(18)
    expect(merged.every(({ from, into }) => from.every(({ epoch }) => epoch === into.epoch))).toBe(true)
    for (const epoch of [1, 2, 3]) await checkTiling(lab.database.pool, epoch)
    expect(await planCompaction(optionsOf({ fileOffsetsMax: 7 }))).toEqual([])
    expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
    const { rows } = await lab.database.pool.query('SELECT reason, old_files, generation, count(*)::int AS swaps FROM archive_swaps GROUP BY 1, 2, 3')
    expect(rows).toEqual([{ reason: 'compacted', old_files: 2, generation: 2, swaps: 18 }])
  })

  test.each([...diskLakeFaultPoints.map((point) => `the lake, once the file is ${point}`), 'the register'])('a crash at %s leaves the register as it was, and the next compaction does it', async (where) => {
    await fillFinely(30, 'a', 3)
    const before = await ofTopic()
    const point = diskLakeFaultPoints.find((one) => where.endsWith(` ${one}`))
    if (point !== undefined) {
      lab.lakeFault = (at) => {
        if (at !== point) return
        lab.lakeFault = null
        throw new Error('crash')
      }
    }
    const beforeSwap = (): Promise<void> => (point === undefined ? Promise.reject(new Error('crash')) : Promise.resolve())
    await expect(compactArchive(optionsOf({ beforeSwap }))).rejects.toThrow('crash')
    lab.lakeFault = null
    expect(await ofTopic()).toEqual(before)
    expect((await compactArchive(optionsOf())).merged).toHaveLength(3)
    await checkTiling(lab.database.pool, 1)
    await sweepTopic(lab, lab.lake)
    await expectOnlyRegistered(lab, lab.lake)
    expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })

  test('two compactors at once: each merge is done once, and the file of the other is an orphan', async () => {
    await fillFinely(30, 'a', 3)
    const rows = await rowsOf(await ofTopic())
    const engine = await lab.secondEngine()
    let second: Promise<unknown> | null = null
    const first = await compactArchive(
      optionsOf({
        beforeSwap: async () => {
          second ??= compactArchive(optionsOf({ engine }))
          expect(await second).toMatchObject({ merged: [{}, {}, {}], overtaken: 0 })
        },
      }),
    )
    expect(first).toMatchObject({ merged: [], overtaken: 3 })
    expect(await ofTopic()).toHaveLength(3)
    expect(await rowsOf(await ofTopic())).toEqual(rows)
    expect(await sweepTopic(lab, lab.lake)).toHaveLength(15)
    await expectOnlyRegistered(lab, lab.lake)
  })

  test('a batch that has listed the old files reads them to its end, whoever compacts and sweeps meanwhile', async () => {
    await fillFinely(30, 'a', 3)
    await lab.append(plainSales(lab, 45, 'a'))
    await countAll(lab)
    const second = await lab.secondEngine()
    let swept: Awaited<ReturnType<typeof sweepOrphans>> | null = null
    const engine = new Proxy(lab.engine, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (name !== 'attach') return typeof value === 'function' ? value.bind(target) : value
        return (async (table, paths, columns) => {
          if (table === 'archived_events') {
            expect((await compactArchive(optionsOf({ engine: second }))).merged.length).toBeGreaterThanOrEqual(3)
            swept = await sweepOrphans({ database: lab.database, lake: lab.lake, topics: [lab.topic], nowMs: Date.now() + 3_600_000, orphanAfterMs: 0, deleteAfterMs: 86_400_000 })
          }
          return target.attach(table, paths, columns)
        }) satisfies QueryEngine['attach']
      },
    })
    const { batch } = await runBatchWith(lab, { engine })
    expect(swept).toEqual({ moved: [], deleted: 0, waiting: expect.any(Number) as number })
    expect(swept!.waiting).toBeGreaterThanOrEqual(12)
    expect(batch).toMatchObject({ eventsRead: 45, eventsCounted: 15 })
    await checkExact(lab)
    expect(await sweepTopic(lab, lab.lake)).toHaveLength(swept!.waiting)
    await expectOnlyRegistered(lab, lab.lake)
  })

  test('while a full batch decodes the archive again, compaction waits for it', async () => {
    await fillFinely(30, 'a', 3)
    const waits: unknown[] = []
    await runBatchWith(lab, { full: true, before: async (step) => void (step === 'redecode' && waits.push(await compactArchive(optionsOf({ engine: await lab.secondEngine() })))) })
    expect(waits).toEqual([{ merged: [], overtaken: 0, waitsFor: 2 }])
    expect((await compactArchive(optionsOf())).merged).toHaveLength(3)
  })

  test('an old file that is missing or damaged ends the compaction with its name, and nothing is swapped', async () => {
    await fillFinely(30, 'a', 3)
    const before = await ofTopic()
    const victim = before[1]!
    await lab.lake.move(victim.path, `aside/${lab.topic}`)
    await expect(compactArchive(optionsOf())).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(victim.path) as string })
    expect(await ofTopic()).toEqual(before)
  })
})

describe('a swap', () => {
  const swap = (old: readonly ArchiveFile[], rewritten: ArchiveFile, reason: Parameters<typeof swapFiles>[3] = 'compacted') => inTransaction(lab.database, {}, (client) => swapFiles(client, old, rewritten, reason))

  test('is refused where the contents differ in any sum, where the range is another, and where a row was swapped before', async () => {
    await fillFinely(9, 'a', 1)
    const [a, b, c] = (await ofTopic()) as [ArchiveFile, ArchiveFile, ArchiveFile]
    const whole: ArchiveFile = {
      ...a,
      path: 'whole',
      toOffset: b.toOffset,
      rows: 2,
      accepted: 2,
      hashHiSum: a.hashHiSum + b.hashHiSum,
      hashLoSum: a.hashLoSum + b.hashLoSum,
      quantitySum: a.quantitySum + b.quantitySum,
      totalMinorSum: a.totalMinorSum + b.totalMinorSum,
    }
    for (const sum of ['rows', 'accepted', 'refused'] as const) await expect(swap([a, b], { ...whole, [sum]: whole[sum] + 1 })).rejects.toThrow(CorruptError)
    for (const sum of ['hashHiSum', 'hashLoSum', 'quantitySum', 'totalMinorSum'] as const) await expect(swap([a, b], { ...whole, [sum]: whole[sum] + 1n })).rejects.toThrow(CorruptError)
    const others: readonly (readonly [readonly ArchiveFile[], ArchiveFile])[] = [
      [[a, c], whole],
      [[a], whole],
      [[b], whole],
      [[], whole],
      [[a, b], { ...whole, epoch: 2 }],
      [[a, b], { ...whole, partition: 1 }],
      [[a, b], { ...whole, toOffset: whole.toOffset + 1 }],
    ]
    for (const [old, rewritten] of others) await expect(swap(old, rewritten)).rejects.toThrow(CorruptError)
    expect(await ofTopic()).toHaveLength(9)
    await swap([b, a], whole)
    expect((await ofTopic()).map(({ path }) => path)).toContain('whole')
    await expect(swap([a, b], { ...whole, path: 'again' })).rejects.toThrow(ConflictError)
    await expect(swap([{ ...whole, sha256: 'other' }], { ...whole, path: 'again' })).rejects.toThrow(ConflictError)
    await swap([whole], { ...whole, path: 'decoded', accepted: 1, refused: 1 }, 'redecoded')
    const { rows } = await lab.database.pool.query('SELECT reason, generation, old_files, new_path FROM archive_swaps ORDER BY swap')
    expect(rows).toEqual([
      { reason: 'compacted', generation: 2, old_files: 2, new_path: 'whole' },
      { reason: 'redecoded', generation: 3, old_files: 1, new_path: 'decoded' },
    ])
  })

  test('starts the grace of the old file anew: it is moved and deleted by the time of its swap, and never where the register knows it again', async () => {
    await fillFinely(30, 'a', 3)
    await compactArchive(optionsOf())
    const dayMs = 86_400_000
    const sweep = (nowMs: number) => sweepOrphans({ database: lab.database, lake: lab.lake, topics: [lab.topic], nowMs, orphanAfterMs: 3_600_000, deleteAfterMs: 2 * dayMs })
    // Written long ago, swapped an hour and a half from now.
    await lab.database.pool.query(`UPDATE swapped_files SET swapped_at = clock_timestamp() + interval '90 minutes'`)
    expect(await sweep(Date.now() + 2 * 3_600_000)).toMatchObject({ moved: [], waiting: 12 })
    // As if it was written 60 days ago: old enough to be deleted at once by its own time.
    await lab.database.pool.query(`UPDATE swapped_files SET swapped_at = clock_timestamp() + interval '60 days'`)
    const movedAt = Date.now() + 60.5 * dayMs
    expect(await sweep(movedAt)).toMatchObject({ waiting: 0 })
    const aside = (): Promise<number> => countBelow(`_orphans/${lab.topic}/`)
    expect(await aside()).toBe(12)
    const { rows } = await lab.database.pool.query<{ path: string }>('SELECT path FROM swapped_files ORDER BY path LIMIT 1')
    // A database that was put back knows one of them, and not the merged file of its partition, which leaves with the others.
    const [merged] = await ofTopic()
    await lab.database.pool.query('UPDATE archive_files SET path = $2 WHERE path = $1', [merged!.path, rows[0]!.path])
    expect(await sweep(movedAt + 3 * dayMs)).toMatchObject({ deleted: 12 })
    expect(await aside()).toBe(1)
    expect((await lab.database.pool.query('SELECT FROM swapped_files')).rowCount).toBe(1)
  })

  test('of files that people’s table in the query engine may still name: they stay while it cannot be told anew', async () => {
    await fillFinely(30, 'a', 3)
    await compactArchive(optionsOf())
    const sweep = (share: () => Promise<void>) => sweepOrphans({ database: lab.database, lake: lab.lake, topics: [lab.topic], nowMs: Date.now() + 60_000, orphanAfterMs: 0, deleteAfterMs: 86_400_000, share })
    expect(await sweep(() => Promise.reject(new ConflictError('no engine')))).toMatchObject({ moved: [], waiting: 12 })
    let told = 0
    const { moved } = await sweep(async () => void told++)
    expect([told, moved.length]).toEqual([1, 12])
  })
})
