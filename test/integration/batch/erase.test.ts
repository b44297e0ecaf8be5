/** Erasing a person: no file of the lake and no table holds them afterwards, and no figure moves. */
import { randomUUID } from 'node:crypto'
import { copyFile, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { archiveColumns } from '#batch/archive-columns.ts'
import type { EraseOptions, Erased } from '#batch/erase.ts'
import { eraseUser } from '#batch/erase.ts'
import { archiveCommitted } from '#batch/archive.ts'
import { compactArchive } from '#batch/compact.ts'
import { readLakeRange } from '#batch/lake-range.ts'
import { allRows } from '#batch/recompute.ts'
import { openDecoder } from '#core/decode.ts'
import { UnavailableError } from '#core/errors.ts'
import type { QueryEngine } from '#core/ports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { hashOfUser } from '#store/erasures.ts'
import { listFiles } from '#store/register.ts'
import { requestBuild } from '#store/search-indices.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { importFolder, importedSale, runLabImport } from '#test/lab/imports.ts'
import { checkExact, readMerged } from '#test/lab/merged.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { tablesWith } from '#test/lab/person.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { MemorySearch } from '#test/lab/memory-search.ts'
import { SearchLab } from '#test/lab/search.ts'
import { batchOptionsOf, sale } from '../../faults/setup.ts'

/** A text that nothing else holds. */
const person = 'u-7f3a9c1e55'
const allPartitions = [0, 1, 2]
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

async function count(): Promise<void> {
  const worker = await StepWorker.open(lab, allPartitions)
  await worker.readAll()
  await worker.flush()
}

function options(more: Partial<EraseOptions> = {}): EraseOptions {
  const { database, lake, engine, topic } = lab
  return { database, lake, engine, codec: parquetCodec, topics: [topic], sharedTopic: topic, orphanAfterMs: 3_600_000, signal: new AbortController().signal, ...more }
}

/** The lab's engine but for some methods. */
function engineWith(changed: Partial<QueryEngine>): QueryEngine {
  const { engine } = lab
  return {
    attach: (...args) => engine.attach(...args),
    detach: (table) => engine.detach(table),
    query: (select) => engine.query(select),
    materialize: (...args) => engine.materialize(...args),
    [Symbol.asyncDispose]: async () => {},
    ...changed,
  }
}

/** The same sale by somebody else, as the person's line or as JSON. */
function saleOf(id: string, user: string, partition = 0): MeantAppend {
  const { value, ...rest } = sale({ id, partition, quantity: 2 })
  return { ...rest, value: Buffer.from(Buffer.from(value).toString().replace(`${id},7,`, `${id},${user},`)), partition }
}

function poisonOf(user: string): MeantAppend {
  return { partition: 1, value: Buffer.from(`{"eventId":"bad","userId":"${user}","quantity":-1}`), logTimeMs: Date.UTC(2026, 0, 15, 12), meant: null }
}

/** A shop in which the person bought in every partition, conflicted, and sent what was refused. */
async function fill(): Promise<void> {
  const sales = [0, 1, 2].flatMap((partition) => [saleOf(`a${partition}`, person, partition), saleOf(`b${partition}`, 'u-other', partition)])
  await lab.append([...sales, poisonOf(person), poisonOf('u-other'), sales[0]!])
  await count()
  await runLabBatch(lab, { fileOffsetsMax: 2 })
  await lab.append([saleOf('c', person), saleOf('d', 'u-other')])
  await count()
  await runLabBatch(lab)
}

/** Every file of the lake that holds the text, in its bytes or in any value of its columns. */
async function filesWith(text: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(lab.lakeRoot, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    // The lake is not cleared between two tests, and each has a topic of its own.
    if (!path.includes(lab.topic) && !path.includes('/batches/')) continue
    if ((await readFile(path)).includes(text)) found.push(path)
    else if (/\.(parquet|tmp)$/.test(path) && path.includes(`/${lab.topic}/`)) {
      await lab.engine.attach('looked_at', [path.slice(lab.lakeRoot.length + 1)], archiveColumns)
      const columns = archiveColumns.map(({ name, type }) => (type === 'bytes' ? `decode(${name})` : `CAST(${name} AS varchar)`))
      const rows = await allRows(lab.engine.query(`SELECT 1 AS one FROM looked_at WHERE ${columns.map((column) => `contains(coalesce(${column}, ''), '${text}')`).join(' OR ')}`))
      if (rows.length > 0) found.push(path)
      await lab.engine.detach('looked_at')
    }
  }
  return found
}

const everything: Partial<Erased> = { records: 6, deadLetters: 1, references: 1 }

test('an erased person is in no file of the lake and in no table; figures, copies and a full recompute are what they were', async () => {
  await fill()
  await lab.database.pool.query(`INSERT INTO reference_users (user_id, name, log_time_ms, partition, log_offset) VALUES ($1, 'Ada', 1, 0, 0)`, [person])
  const before = await checkExact(lab)
  const files = await listFiles(lab.database.pool, 0, 10)
  expect((await filesWith(person)).length).toBeGreaterThan(3)
  expect(await tablesWith(lab, person)).toEqual(['dead_letters', 'reference_users'])
  expect(await eraseUser(options({ dryRun: true }), person)).toMatchObject(everything)
  expect(await listFiles(lab.database.pool, 0, 10)).toEqual(files)

  // As a crash leaves it that came between the verifying of a file and its renaming.
  const [whole] = await filesWith(person)
  const unfinished = join(dirname(whole!), `_${randomUUID()}.tmp`)
  await copyFile(whole!, unfinished)
  await utimes(unfinished, new Date(0), new Date(0))

  const erased = await eraseUser(options({ now: true }), person)
  expect(erased).toMatchObject({ ...everything, unreadable: [], waiting: [] })
  expect(erased.filesRemoved).toBe(erased.files + 1)
  expect(await filesWith(person)).toEqual([])
  expect(await filesWith('u-other')).not.toEqual([])
  expect(await tablesWith(lab, person)).toEqual([])
  expect((await readMerged(lab)).views).toEqual(before.views)
  expect((await checkExact(lab)).letters).toEqual(before.letters)
  const { rows } = await lab.database.pool.query('SELECT user_sha256, records, dead_letters, finished_at IS NOT NULL AS finished FROM erasures')
  expect(rows).toEqual([{ user_sha256: hashOfUser(person), records: 6n, dead_letters: 1n, finished: true }])
  const swaps = await lab.database.pool.query<{ reason: string }>('SELECT reason FROM archive_swaps')
  expect(new Set(swaps.rows.map((swap) => swap.reason))).toEqual(new Set(['erased']))

  // Copies that come later are copies still: one that the ledger knows, and one that only the archive does.
  await lab.append([saleOf('a1', person, 1)])
  await count()
  await lab.append([saleOf('a2', person, 2)])
  const forgetful = await StepWorker.open(lab, allPartitions, 1)
  await forgetful.readAll()
  await forgetful.flush()
  const corrected = await runLabBatch(lab)
  expect(corrected.crossCheck.summary.correctionsByReason).toEqual({ copy: 1 })
  await checkExact(lab)
  const full = await runLabBatch(lab, { full: true })
  expect(full.crossCheck.summary.result).toBe('exact')
  expect(full.crossCheck.summary).toMatchObject({ redecoded: { filesChanged: 0, erasedRecords: 6 } })
  expect((await checkExact(lab)).views).toEqual(before.views)
})

test('an erasure that is interrupted goes on, and one that meets another rewriting of the same file looks for it again', async () => {
  await fill()
  await checkExact(lab)
  let swaps = 0
  const killed = eraseUser(
    options({
      async beforeSwap() {
        if (++swaps === 2) throw new Error('killed')
      },
    }),
    person,
  )
  await expect(killed).rejects.toThrow('killed')
  let raced = false
  const erased = await eraseUser(
    options({
      now: true,
      async beforeSwap() {
        if (raced) return
        raced = true
        await eraseUser(options(), person)
      },
    }),
    person,
  )
  expect(erased.unreadable).toEqual([])
  expect(await filesWith(person)).toEqual([])
  expect(await tablesWith(lab, person)).toEqual([])
  await checkExact(lab)
})

test('documents of the sales that are built anew leave the person out, though the log still has them', async () => {
  await fill()
  const search = new MemorySearch()
  const follower = new SearchLab(lab, search, 'mem')
  await follower.followAll()
  const users = async (): Promise<unknown[]> => {
    const held: unknown[] = []
    for (const index of await search.pointed('mem-sales')) for (const { body } of search.indices.get(index)!.values()) held.push((JSON.parse(body!) as { userId: unknown }).userId)
    return [...new Set(held)].sort((a, b) => (String(a) < String(b) ? -1 : 1))
  }
  expect(await users()).toEqual(['u-other', person].sort())
  await eraseUser(options({ now: true }), person)
  await requestBuild(lab.database, 'mem', 'sales')
  await follower.followAll()
  expect(await users()).toEqual([null, 'u-other'])
  await follower.closeSales()
})

test('files that a running batch may read are not removed under it: the batch publishes, and then they go', async () => {
  await fill()
  await lab.append([saleOf('e', person, 1)])
  await count()
  let refused: unknown = null
  const outcome = await runLabBatch(lab, {
    engine: await lab.secondEngine(),
    async before(step) {
      if (step === 'recompute') refused = await eraseUser(options({ now: true }), person).catch((thrown: unknown) => thrown)
    },
  })
  expect(outcome.crossCheck.summary.result).toBe('exact')
  expect(refused).toMatchObject({ code: 'conflict' })
  await eraseUser(options({ now: true }), person)
  expect(await filesWith(person)).toEqual([])
  await checkExact(lab)
})

test('a file that an import is about to register is left to it, and blanked by the next run; one that a crash left goes when its time is over', async () => {
  await using folder = await importFolder()
  const { value, meant } = saleOf('h', person)
  const lines = [{ text: Buffer.from(value).toString(), meant: meant!.map((fact) => ({ ...fact, source: 'old-shop' })) }, importedSale('old-shop', { id: 'i' })]
  const file = await folder.write('old.csv', lines)
  for (const line of lines) lab.oracle.add(65_535, line.meant)
  await expect(runLabImport(lab, { files: [file], crash: { point: 'afterFile', passes: 0 } })).rejects.toThrow('crash')
  const [left] = await filesWith(person)
  expect(await eraseUser(options({ now: true }), person)).toMatchObject({ filesRemoved: 0, waiting: [left!.slice(lab.lakeRoot.length + 1)] })
  let meanwhile: Erased | null = null
  await runLabImport(lab, { files: [file], faults: { afterFile: async () => void (meanwhile = await eraseUser(options({ now: true }), person)) } })
  expect(meanwhile!.waiting).toHaveLength(2)
  expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  expect(await eraseUser(options({ now: true, orphanAfterMs: 0 }), person)).toMatchObject({ files: 1, records: 1, filesRemoved: 2, waiting: [] })
  expect(await filesWith(person)).toEqual([])
  await checkExact(lab)
})

test('old files are looked through many at a time; one that cannot be read is named, and an engine that is away ends the run', async () => {
  await fill()
  for (let n = 0; n < 40; n++) {
    await lab.append([saleOf(`o${n}`, 'u-other')])
    await count()
    await archiveCommitted(batchOptionsOf(lab))
  }
  expect((await compactArchive(batchOptionsOf(lab))).merged.length).toBeGreaterThan(0)
  const unreadable = `${lab.topic}/logged=2026-01/${lab.topic}+0+0-9.parquet`
  await writeFile(join(lab.lakeRoot, unreadable), 'no table')
  let attached = 0
  const counting = engineWith({ attach: (...args) => (attached++, lab.engine.attach(...args)) })
  let isAway = false
  const leaving = engineWith({
    attach: async (table, paths, columns) => {
      isAway ||= paths.includes(unreadable)
      return isAway ? Promise.reject(new UnavailableError('away')) : lab.engine.attach(table, paths, columns)
    },
    query: (select) => lab.engine.query(isAway ? 'SELECT 1 AS one FROM nobody_answers' : select),
  })
  await expect(eraseUser(options({ now: true, engine: leaving, orphanAfterMs: 0 }), person)).rejects.toThrow('nobody_answers')
  const erased = await eraseUser(options({ now: true, engine: counting, orphanAfterMs: 0 }), person)
  expect(erased).toMatchObject({ unreadable: [unreadable], waiting: [] })
  expect(erased.filesRemoved).toBeGreaterThan(3)
  // Of some fifty files, each that holds the person and the one that cannot be read cost a look of their own.
  expect(attached).toBeLessThan(30)
  await lab.lake.remove(unreadable)
  expect(await filesWith(person)).toEqual([])
  await checkExact(lab)
})

test('a range with an erased record is read back from the lake with the same figures, and other settings decode it from its columns', async () => {
  await fill()
  await eraseUser(options(), person)
  const batches = await readLakeRange({ queryable: lab.database.pool, lake: lab.lake, engine: lab.engine }, lab.topic, 0, 0, 3)
  const decoder = openDecoder({ zone: 'Pacific/Auckland', currency: 'GBP' })
  const events: unknown[] = []
  for await (const { records } of batches!) {
    for (const record of records) {
      const decoded = decoder.decode(record, lab.topic)
      events.push('refusal' in decoded ? decoded : decoded.events.map(({ eventId, userId, totalMinor, eventTimeMs, localHour }) => ({ eventId, userId, totalMinor, eventTimeMs, localHour })))
    }
  }
  const at = Date.UTC(2025, 2, 1, 10)
  // The line of somebody else has no zone, and is ten in the morning anywhere; the erased one is an instant.
  expect(events).toEqual([
    [{ eventId: 'a0', userId: 'erased', totalMinor: 2000, eventTimeMs: at, localHour: 23 }],
    [{ eventId: 'b0', userId: 'u-other', totalMinor: 2000, eventTimeMs: at - 13 * 3_600_000, localHour: 10 }],
    [{ eventId: 'a0', userId: 'erased', totalMinor: 2000, eventTimeMs: at, localHour: 23 }],
  ])
  const full = await runLabBatch({ ...lab, topic: lab.topic, oracle: lab.oracle, decoder }, { full: true })
  expect(full.crossCheck.summary.logic).toMatchObject({ erasedRecords: 6, refusedAnew: 0 })
  const { rows } = await lab.database.pool.query<{ day: string; sales: bigint }>(`SELECT local_day AS day, sum(transactions)::bigint AS sales FROM merged_revenue GROUP BY 1 ORDER BY 1`)
  expect(rows).toEqual([{ day: '2025-03-01', sales: 8n }])
})
