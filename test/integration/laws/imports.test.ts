/**
 * The law with imports: history from before the log is a partition of the same law, wherever an import stops, dies or begins again, and whatever batches and
 * live traffic come between its chunks.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { acceptLoss } from '#store/accept-loss.ts'
import { releaseLocks } from '#store/database.ts'
import { findImport, listImports, ownImport } from '#store/imports.ts'
import { listLetters } from '#store/dead-letters.ts'
import { listFiles } from '#store/register.ts'
import { repairArchive } from '#batch/archive.ts'
import { parquetCodec } from '#engines/parquet.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { CrashError, runLabBatch } from '#test/lab/crash.ts'
import type { LabImport, MeantLine } from '#test/lab/imports.ts'
import { importCrashPoints, importFolder, importedSale, refusedLine, runLabImport } from '#test/lab/imports.ts'
import { checkExact } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { lawRuns, lawSeeds } from './seeds.ts'

const firstPartition = 65_535
let lab: Lab
let folder: Awaited<ReturnType<typeof importFolder>>

beforeAll(async () => {
  lab = await openLab({ partitions: 2 })
  folder = await importFolder()
})
beforeEach(() => lab.clear())
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await lab[Symbol.asyncDispose]()
})

/** Ids repeat: the same fields are a copy, others a conflict; some lines are no events. */
function someLines(source: string, count: number, seed: number): MeantLine[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, (_, n) => {
    if (random.chance(0.08)) return refusedLine(random.pick(['no event', '{"eventId":"x"}', `${n},7,P1,"P",Home,1,1.00,2.00,2019-01-01 10:00:00,London`]))
    const id = random.below(count)
    const at = `20${19 + random.below(3)}-0${1 + random.below(9)}-1${random.below(9)} 1${random.below(9)}:00:00`
    return importedSale(source, { id: String(id), at: random.chance(0.7) ? `2019-03-0${1 + (id % 9)} 10:00:00` : at, product: `P${id % 7}`, city: random.pick(['London', 'Leeds']) })
  })
}

function expectLines(lines: readonly MeantLine[], partition = firstPartition): void {
  for (const { meant } of lines) lab.oracle.add(partition, meant)
}

async function countLog(partition: number): Promise<void> {
  const worker = await StepWorker.open(lab, [partition])
  await worker.readAll()
  await worker.flush()
}

async function importAll(options: LabImport): Promise<void> {
  expect((await runLabImport(lab, options)).isFinished).toBe(true)
}

describe('an import', () => {
  test('is counted once beside ids of the log that are the same, live, below the horizon, and in a full batch', async () => {
    const lines = someLines('old-shop', 40, 1)
    const file = await folder.write('both.csv', lines)
    expectLines(lines)
    await lab.append([sale({ id: '1' }), sale({ id: '2' }), sale({ id: '3', partition: 1 })])
    await countLog(0)
    await importAll({ files: [file] })
    await checkExact(lab)
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    await countLog(1)
    const merged = await checkExact(lab)
    expect(merged.accounts.get(firstPartition)!.copies).toBeGreaterThan(0)
    expect(merged.accounts.get(firstPartition)!.conflicts).toBeGreaterThan(0)
    expect((await runLabBatch(lab, { full: true })).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })

  test('stops behind the chunk in hand, and goes on where it was', async () => {
    const lines = someLines('old-shop', 30, 2)
    const file = await folder.write('stopped.csv', lines)
    expectLines(lines)
    const stopped = await runLabImport(lab, { files: [file], stopAfterChunks: 2 })
    expect(stopped).toMatchObject({ isFinished: false, import: { nextOffset: 14, finishedAt: null } })
    await checkExact(lab)
    const rest = await runLabImport(lab, { files: [file] })
    expect(rest).toMatchObject({ isFinished: true, sums: { lines: 16 }, import: { nextOffset: 30 } })
    await checkExact(lab)
  })

  test('run again when it is finished changes nothing', async () => {
    const lines = someLines('old-shop', 20, 3)
    const file = await folder.write('twice.csv', lines)
    expectLines(lines)
    await importAll({ files: [file] })
    const before = await listFiles(lab.database.pool, 0, 99)
    const again = await runLabImport(lab, { files: [file] })
    expect(again).toMatchObject({ isFinished: true, sums: { lines: 0 } })
    expect(await listFiles(lab.database.pool, 0, 99)).toEqual(before)
    await checkExact(lab)
  })

  test('refuses files that are not what they were, and imports none of them', async () => {
    const lines = someLines('old-shop', 30, 4)
    expectLines(lines)
    const file = await folder.write('kept.csv', lines)
    await runLabImport(lab, { files: [file], stopAfterChunks: 2 })
    const changed = await folder.write('changed.csv', [lines[1]!, lines[0]!, ...lines.slice(2)])
    await expect(runLabImport(lab, { files: [changed] })).rejects.toThrow('brings other lines than the 14 that are imported')
    const short = await folder.write('short.csv', lines.slice(0, 10))
    await expect(runLabImport(lab, { files: [short] })).rejects.toThrow('has 10 lines where 14 are imported')
    await checkExact(lab)
    await importAll({ files: [file] })
    const longer = await folder.write('longer.csv', [...lines, ...lines])
    await expect(runLabImport(lab, { files: [longer] })).rejects.toThrow('has more lines than the 30 that it finished with')
    expect((await checkExact(lab)).n.get(firstPartition)).toBe(30)
  })

  test('names file and line of what it refuses, over packed files, several files and empty lines', async () => {
    const good = (id: string): string => importedSale('old-shop', { id }).text
    const files = [await folder.write('a.csv', `${good('1')}\r\n\r\n${good('2')}`), await folder.write('b.csv.gz', `\ufeff${good('3')}\n\nno event\n${good('4')}\n`)]
    const outcome = await runLabImport(lab, { files, chunkLinesMax: 2 })
    expect(outcome).toMatchObject({ isFinished: true, sums: { lines: 5, accepted: 4, refused: 1 }, import: { nextOffset: 7 } })
    const [letter, ...others] = await listLetters(lab.database.pool, { limit: 10 })
    expect(others).toEqual([])
    expect(letter).toMatchObject({ partition: firstPartition, offset: 5, text: 'no event', imported: { importName: 'old-shop', file: 'b.csv.gz', line: 3 }, headers: { 'tidemark-source': 'old-shop' } })
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
  })

  test('of a torn packed file keeps what stood before the tear, and goes on with the whole one', async () => {
    const lines = someLines('old-shop', 3_000, 5)
    expectLines(lines)
    const whole = await folder.write('whole.csv.gz', lines)
    const { readFile, writeFile } = await import('node:fs/promises')
    const torn = whole.replace('whole', 'torn')
    await writeFile(torn, (await readFile(whole)).subarray(0, -2_000))
    await expect(runLabImport(lab, { files: [torn], chunkLinesMax: 500 })).rejects.toThrow('it is no whole gzip file')
    await importAll({ files: [whole], chunkLinesMax: 500 })
    await checkExact(lab)
  })

  test('waits for nobody of the same name, and lets others go on beside it', async () => {
    const [mine, others] = [someLines('old-shop', 20, 6), someLines('other-shop', 20, 7)]
    const [file, other] = [await folder.write('mine.csv', mine), await folder.write('other.csv', others)]
    await runLabImport(lab, { files: [file], stopAfterChunks: 1 })
    const owner = await ownImport(lab.database, { name: 'old-shop', partition: firstPartition })
    await expect(runLabImport(lab, { files: [file] })).rejects.toThrow('runs already in another process')
    await importAll({ name: 'other-shop', files: [other] })
    await releaseLocks(owner)
    expectLines(mine)
    expectLines(others, firstPartition - 1)
    await importAll({ files: [file] })
    await checkExact(lab)
    expect((await listImports(lab.database.pool)).map(({ name, partition }) => [name, partition])).toEqual([
      ['old-shop', firstPartition],
      ['other-shop', firstPartition - 1],
    ])
  })

  test('names a product only where the log has no sale of it', async () => {
    const named = (id: string, product: string, name: string): string => importedSale('old-shop', { id, product }).text.replace(`"Product ${product}"`, name)
    const names = async (): Promise<unknown[]> => (await lab.database.pool.query('SELECT product_id, product_name FROM product_names ORDER BY 1')).rows
    await lab.append([sale({ id: '1', product: 'P1' })])
    await countLog(0)
    const file = await folder.write('names.csv', [named('1', 'P1', 'of old'), named('2', 'P2', 'of old'), named('3', 'P2', 'less old')].map((text) => `${text}\n`).join(''))
    await importAll({ files: [file], chunkLinesMax: 2 })
    const expected = [{ product_id: 'P1', product_name: 'Product P1' }, { product_id: 'P2', product_name: 'less old' }]
    expect(await names()).toEqual(expected)
    await runLabBatch(lab)
    expect(await names()).toEqual(expected)
    await lab.append([sale({ id: '2', product: 'P2' })])
    await countLog(0)
    expect((await names())[1]).toEqual({ product_id: 'P2', product_name: 'Product P2' })
  })

  test('of the name space of another one counts no id twice once a batch has seen both', async () => {
    const lines = [importedSale('old-shop', { id: '1' }), importedSale('old-shop', { id: '2' })]
    const file = await folder.write('one.csv', lines)
    await importAll({ files: [file] })
    await importAll({ name: 'old-shop-again', source: 'old-shop', files: [file] })
    expectLines(lines)
    expectLines(lines, firstPartition - 1)
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('corrected')
    await checkExact(lab)
  })

  test('a cut between a chunk’s file and its flush has the file written again, and the batch is exact', async () => {
    const lines = someLines('old-shop', 21, 8)
    const file = await folder.write('cut.csv', lines)
    expectLines(lines)
    let cuts = 0
    const afterFile = async (): Promise<void> => {
      if (++cuts === 2) expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    }
    await importAll({ files: [file], faults: { afterFile } })
    expect(cuts).toBe(4)
    await checkExact(lab)
    const files = await listFiles(lab.database.pool, 0, 99)
    expect(files.map(({ epoch, fromOffset, toOffset }) => [epoch, fromOffset, toOffset])).toEqual([
      [1, 0, 7],
      [2, 7, 14],
      [2, 14, 21],
    ])
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })

  test.each(importCrashPoints)('that dies at %s is exact before and after it goes on', async (point) => {
    const lines = someLines('old-shop', 24, 9)
    const file = await folder.write('crash.csv', lines)
    expectLines(lines)
    await expect(runLabImport(lab, { files: [file], crash: { point, passes: 1 } })).rejects.toThrow(CrashError)
    const { n } = await checkExact(lab)
    expect(n.get(firstPartition)).toBe(point === 'afterCommit' ? 14 : 7)
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    await importAll({ files: [file] })
    await checkExact(lab)
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    expect((await checkExact(lab)).n.get(firstPartition)).toBe(24)
  })

  test('whose file the lake lost is named by the repair, which no log can make good, and what is given up as lost is refused', async () => {
    const lines = someLines('old-shop', 7, 10)
    await importAll({ files: [await folder.write('lost.csv', lines)] })
    await runLabBatch(lab)
    const [file] = await listFiles(lab.database.pool, 0, 99)
    await lab.lake.remove(file!.path)
    const options = { database: lab.database, log: lab.log, lake: lab.lake, engine: lab.engine, codec: parquetCodec, decoder: lab.decoder, fileOffsetsMax: 100, signal: new AbortController().signal }
    await expect(repairArchive(options, 99)).rejects.toThrow(`${file!.path} of the import old-shop, lines 1 to 7`)
    const range = { topic: lab.topic, partition: firstPartition, from: 0, to: 7 }
    await expect(acceptLoss(lab.database, lab.log, range, options.signal)).rejects.toThrow("is an import's")
  })
})

test.each(lawSeeds)('the law holds after every step of imports, live traffic, batches and crashes (seed %i)', async (seed) => {
  const random = seededRandom(seed)
  for (let round = 0; round < lawRuns(2); round++) {
    await lab.clear()
    const names = ['old-shop', 'older-shop']
    const files = new Map<string, string>()
    for (const [i, name] of names.entries()) {
      const lines = someLines(name, 40 + random.below(40), random.below(1_000_000))
      files.set(name, await folder.write(`${name}-${seed}-${round}.csv`, lines))
      expectLines(lines, firstPartition - i)
    }
    await runLabImport(lab, { name: names[0]!, files: [files.get(names[0]!)!], stopAfterChunks: 1 })
    await runLabImport(lab, { name: names[1]!, files: [files.get(names[1]!)!], stopAfterChunks: 1 })
    for (let step = 0; step < 8; step++) {
      const name = random.pick(names)
      const options = { name, files: [files.get(name)!], chunkLinesMax: 1 + random.below(20) }
      const what = random.below(4)
      if (what === 0) {
        const partition = random.below(2)
        await lab.append([sale({ id: String(random.below(60)), partition }), sale({ id: `n${step}`, partition })])
        await countLog(partition)
      } else if (what === 1) await runLabBatch(lab, { full: random.chance(0.3) })
      else if (what === 2) await runLabImport(lab, { ...options, stopAfterChunks: 1 + random.below(3) })
      else {
        const isDone = (await findImport(lab.database.pool, name))!.finishedAt !== null
        const crash = { point: random.pick(importCrashPoints), passes: random.below(2) }
        await runLabImport(lab, { ...options, ...(!isDone && { crash }) }).catch((thrown: unknown) => {
          if (!(thrown instanceof CrashError)) throw thrown
        })
      }
      await checkExact(lab)
    }
    for (const name of names) await importAll({ name, files: [files.get(name)!] })
    await runLabBatch(lab)
    await checkExact(lab)
  }
})
