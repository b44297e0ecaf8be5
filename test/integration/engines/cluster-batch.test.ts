/**
 * The batch layer's rarer work on Kafka, HDFS and Trino, in one shop and in the order in which a shop would come to it: an import, reference tables, batches, a
 * frozen report and its restatement, a roll-back, compaction, the erasure of a person, another zone taken into use, and a roll-back over that. After each step
 * the merged figures are the oracle's, which knows both zones by itself.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { archiveCommitted } from '#batch/archive.ts'
import { compactArchive } from '#batch/compact.ts'
import { eraseUser } from '#batch/erase.ts'
import { sweepOrphans } from '#batch/orphans.ts'
import { freezeReport, refreshReports } from '#batch/reports.ts'
import { shareArchive, sharedName } from '#batch/share.ts'
import { openDecoder } from '#core/decode.ts'
import { referenceTopics } from '#core/decode-reference.ts'
import { addFigures, noFigures } from '#core/report/figures.ts'
import type { Report } from '#core/report/report.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { catchUpReferences } from '#speed/references.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { resumePublishing, rollBack } from '#store/batches.ts'
import { listFiles } from '#store/register.ts'
import { readReport, readReportText } from '#store/reports.ts'
import { runOnTrino } from '#test/contract/trino-lake.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import { batchOptionsOf, refund, sale } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import { keyOf } from '#test/lab.ts'
import type { ClusterLab } from '#test/lab/cluster.ts'
import { openClusterLab } from '#test/lab/cluster.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import type { MeantLine } from '#test/lab/imports.ts'
import { importFolder, importedSale, refusedLine, runLabImport } from '#test/lab/imports.ts'
import type { Merged } from '#test/lab/merged.ts'
import { expectExact, readMerged } from '#test/lab/merged.ts'
import { hdfsFilesWith, tablesWith } from '#test/lab/person.ts'
import { seededRandom } from '#test/lab/random.ts'
import { expectReportExact, labReportOptions } from '#test/lab/reports.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import type { Fact } from '#test/oracle.ts'
import { Oracle } from '#test/oracle.ts'

const seed = Number(process.env['TIDEMARK_TEST_SEED'] ?? Math.trunc(performance.timeOrigin) % 2 ** 31)
const auckland = openDecoder({ zone: 'Pacific/Auckland', currency: 'GBP' })
/** The third has no record: a partition may be quiet for ever. */
const partitions = [0, 1]
const importPartition = 65_535
/** A text that nothing else holds. */
const person = 'u-7f3a9c1e55'
const march = { kind: 'monthly', period: '2025-03' } as const
const never = new AbortController().signal
const isThere = (['kafka', 'hdfs', 'trino'] as const).every((name) => testEngine(name) !== null)

describe.skipIf(!isThere)(`the batch layer on Kafka, HDFS and Trino${whereMissing('kafka', 'hdfs', 'trino')}`, () => {
  const stack = new AsyncDisposableStack()
  let cluster: ClusterLab
  let lab: Lab
  /** The same shop as its figures stand in Auckland. */
  let elsewhere: Oracle

  beforeAll(async () => {
    process.stdout.write(`TIDEMARK_TEST_SEED=${seed}\n`)
    cluster = stack.use(await openClusterLab(testEngine('kafka')!))
    lab = cluster.lab
    elsewhere = new Oracle()
  }, 60_000)
  afterAll(() => stack.disposeAsync(), 60_000)

  test('imports, restates, rolls back, compacts, erases and changes its zone, and every figure is exact after each step', { timeout: 300_000 }, async () => {
    const clock = stepClock()
    const stream = openTraffic()
    await send([...stream(120), ...salesOf(person), sale({ id: 'm-1', day: '2025-03-03', product: 'P1', city: 'Bath', quantity: 3 }), sale({ id: 'm-2', day: '2025-03-20', product: 'P2', partition: 1 })])
    await tellNames()
    clock('counted')

    await importHistory()
    clock('imported')
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    await checkLondon()
    expect(await productName('P1')).toBe('From the list')
    expect(new Set((await listFiles(lab.database.pool, 0, 99)).map(({ topic }) => topic))).toEqual(new Set([lab.topic, ...referenceTopics]))
    clock('batch 1')

    expect(await freezeReport(reportOptions(lab), march)).toEqual({ outcome: 'published', version: 1 })
    const frozen = await readReportText(lab.database.pool, 'monthly', '2025-03', 1)
    expectReportExact(lab, await report(1))
    clock('report 1')

    await sendInSmallFiles()
    expect(await readReportText(lab.database.pool, 'monthly', '2025-03')).toBe(frozen)
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    const after = await checkLondon()
    expect(await refreshReports(reportOptions(lab))).toEqual([{ ...march, outcome: 'published', version: 2 }])
    await expectRestated()
    expect(await readReportText(lab.database.pool, 'monthly', '2025-03', 1)).toBe(frozen)
    clock('batch 2 and report 2')

    await rollBack(lab.database)
    expect(figures(await checkLondon())).toEqual(figures(after))
    await resumePublishing(lab.database)
    const third = await runLabBatch(lab)
    expect(third.crossCheck.summary.result).toBe('exact')
    expect(third.batch).toMatchObject({ kind: 'incremental', baseBatch: 1 })
    expect(await freezeReport(reportOptions(lab), march)).toEqual({ outcome: 'unchanged', version: 2 })
    expect(figures(await checkLondon())).toEqual(figures(after))
    clock('roll-back and batch 3')

    await compact()
    expect(figures(await checkLondon())).toEqual(figures(after))
    clock('compacted')

    await erase()
    expect((await readMerged(lab)).views).toEqual(after.views)
    await checkLondon()
    clock('erased')

    const there = cluster.with(auckland)
    const taken = await runLabBatch(there, { full: true })
    expect(taken.crossCheck.summary.logic).toMatchObject({ erasedRecords: 4, refusedAnew: 0, acceptedAnew: 0 })
    expect(taken.crossCheck.summary.logic!.changed).toBeGreaterThan(50)
    const moved = await checkAuckland()
    clock('zone')
    expect(await refreshReports(reportOptions(there))).toEqual([{ ...march, outcome: 'published', version: 3 }])
    const restated = await report(3)
    expectReportExact({ ...there, oracle: elsewhere }, restated)
    expect(restated.restatement!.causes.map(({ reason, events }) => [reason, events])).toContainEqual(['logic', 0])
    clock('report 3')

    await rollBack(lab.database)
    expect(figures(await checkAuckland())).toEqual(figures(moved))
    await resumePublishing(lab.database)
    await send([sale({ id: 'z-1', day: '2025-03-30' })], there)
    // On rows of the old zone only a full batch can stand.
    const last = await runLabBatch(there)
    expect(last.batch.kind).toBe('full')
    expect(last.crossCheck.summary.result).toBe('exact')
    await checkAuckland()
    clock('roll-back and batch 5')
  })

  /** A random shop, over months, with late events, copies, conflicts, refunds and rubbish. */
  function openTraffic(): (records: number) => MeantAppend[] {
    const random = seededRandom(seed)
    const stream = new ShopStream(lab.topic, partitions.length, false)
    return (records) => {
      const due: MeantAppend[] = []
      while (due.length < records) {
        const next = stream.next(random.pick(intentKinds), random)
        if (next !== null && next.value.length < 200_000) due.push(next)
      }
      return due
    }
  }

  /** Appends, tells both oracles, and counts. What has no zone is of the same day anywhere. */
  async function send(records: readonly MeantAppend[], shop: Lab = lab): Promise<void> {
    await lab.append(records)
    for (const { partition, meant, meantInAuckland } of records) elsewhere.add(partition, meantInAuckland === undefined ? meant : meantInAuckland)
    const worker = await StepWorker.open(shop, partitions)
    await worker.readAll()
    await worker.flush()
    await (shop === lab ? checkLondon() : checkAuckland())
  }

  async function checkLondon(): Promise<Merged> {
    const merged = await readMerged(lab)
    expectExact(merged, lab.oracle.expect(merged.n))
    return merged
  }

  async function checkAuckland(): Promise<Merged> {
    const merged = await readMerged(lab)
    expectExact(merged, elsewhere.expect(merged.n))
    return merged
  }

  /** Users and products, the newest record of each, with one that is none. */
  async function tellNames(): Promise<void> {
    const say = async (topic: string, ...records: readonly (object | string)[]): Promise<void> =>
      void (await lab.log.append(topic, records.map((record) => ({ key: keyOf(0, 2), value: Buffer.from(typeof record === 'string' ? record : JSON.stringify(record)) }))))
    await say('products', { productId: 'P1', name: 'Of before' }, 'no record', { productId: 'P1', name: 'From the list', category: 'Home' })
    await say('users', { userId: '7', name: 'Ada' }, { userId: person, name: 'Who is to go', email: 'who@example.com' })
    await catchUpReferences({ database: lab.database, log: lab.log, topics: referenceTopics, logicVersion: lab.decoder.logicVersion }, never)
    await checkLondon()
  }

  async function productName(id: string): Promise<string | null | undefined> {
    const { rows } = await answerTopProducts(lab.database.pool, { period: { fromDay: null, toDay: null }, n: 100, by: 'units' }, { ledgerIdsMax: 1_000 })
    return rows.find(({ productId }) => productId === id)?.productName
  }

  async function importHistory(): Promise<void> {
    await using folder = await importFolder()
    const some = Array.from({ length: 20 }, (_, n) => importedSale('old-shop', { id: String(n), at: `2024-0${1 + (n % 9)}-1${n % 9} 10:00:00`, product: `P${n % 5}`, city: n % 2 === 0 ? 'London' : 'Leeds' }))
    const [ofPerson] = salesOf(person, 'old-shop')
    const lines: MeantLine[] = [...some, some[3]!, refusedLine('no event'), { text: Buffer.from(ofPerson!.value).toString(), meant: ofPerson!.meant }]
    const outcome = await runLabImport(lab, { files: [await folder.write('old.csv.gz', lines)], chunkLinesMax: 12 })
    expect(outcome).toMatchObject({ isFinished: true, import: { accepted: 21, copies: 1, refused: 1 } })
    for (const { meant } of lines) lab.oracle.add(importPartition, meant)
    for (const { meant } of lines.slice(0, -1)) elsewhere.add(importPartition, meant)
    elsewhere.add(importPartition, ofPerson!.meantInAuckland!)
    await checkLondon()
  }

  /** A late sale and a late refund of the closed month, and more beside them, archived as often as a shop does. */
  async function sendInSmallFiles(): Promise<void> {
    const late = [sale({ id: 'l-1', day: '2025-03-05', city: 'York', category: 'Garden', product: 'P9', quantity: 3, unitMinor: 333 })]
    for (const records of [late, [refund({ id: 'l-2', day: '2025-03-20', product: 'P2', refundOf: 'm-2', totalMinor: 999, partition: 1 }), sale({ id: 'a-1', day: '2025-06-01' })], [sale({ id: 'a-2', day: '2025-06-02' })]]) {
      await send(records)
      await archiveCommitted(batchOptionsOf(lab))
    }
  }

  async function report(version: number): Promise<Report> {
    return readReport(lab.database.pool, 'monthly', '2025-03', version)
  }

  function reportOptions(shop: Lab): ReturnType<typeof labReportOptions> {
    return labReportOptions(shop, { engineName: 'Trino', zone: shop.decoder === auckland ? 'Pacific/Auckland' : 'Europe/London' })
  }

  async function expectRestated(): Promise<void> {
    const made = await report(2)
    expectReportExact(lab, made)
    expect(made.receipt.archiveCheck.engine).toBe('Trino')
    const { causes, lines, eventCount } = made.restatement!
    expect(causes.map(({ reason, events, currency, difference }) => [reason, events, currency, difference.netMinor])).toEqual([['late sale', 1, 'GBP', '999'], ['late refund', 1, 'GBP', '-999']])
    expect(eventCount).toBe(2)
    for (const section of ['total', 'city', 'category', 'city_category', 'day'] as const) {
      const sum = lines.filter((line) => line.section === section).reduce((all, line) => addFigures(all, line.difference), noFigures)
      expect(sum, section).toEqual({ transactions: 1, orders: 1, refundEvents: 1, unitsSold: 3, unitsRefunded: 1, grossMinor: '999', refundsMinor: '999', netMinor: '0' })
    }
  }

  /** What people who ask Trino themselves find. */
  async function shared(condition = 'true'): Promise<unknown[]> {
    const [row] = await runOnTrino(`SELECT count(*), sum(log_offset), sum(total_minor), count(DISTINCT event_id) FROM hive.${cluster.sharedSchema}.${sharedName(lab.topic)} WHERE ${condition}`)
    return row!
  }

  async function compact(): Promise<void> {
    const { database, lake, engine, topic } = lab
    const before = await shared()
    const { merged } = await compactArchive(batchOptionsOf(lab))
    expect(merged.map(({ from, into }) => [into.partition, from.length])).toEqual([[0, 3], [importPartition, 2]])
    const share = (): Promise<void> => shareArchive({ database, engine, topic })
    const { moved } = await sweepOrphans({ database, lake, topics: [topic, ...referenceTopics], nowMs: Date.now() + 3_600_000, orphanAfterMs: 0, deleteAfterMs: 1e12, share })
    expect(moved).toHaveLength(5)
    expect(await shared()).toEqual(before)
  }

  async function erase(): Promise<void> {
    const before = await shared()
    const files = await hdfsFilesWith(cluster.folder, person)
    expect(files.map((path) => path.split('/')[0]!)).toEqual(expect.arrayContaining([lab.topic, 'users']))
    expect(await tablesWith(lab, person)).toEqual(['dead_letters', 'reference_users'])
    expect(Number((await shared(`user_id = '${person}'`))[0])).toBe(3)
    const { database, lake, engine, topic } = lab
    const erased = await eraseUser({ database, lake, engine, codec: parquetCodec, topics: [topic, ...referenceTopics], sharedTopic: topic, orphanAfterMs: 3_600_000, signal: never, now: true }, person)
    expect(erased).toMatchObject({ records: 5, deadLetters: 1, references: 1, filesRemoved: files.length, unreadable: [], waiting: [] })
    expect(await hdfsFilesWith(cluster.folder, person)).toEqual([])
    expect(await tablesWith(lab, person)).toEqual([])
    expect(await shared()).toEqual(before)
    expect(Number((await shared(`user_id = '${person}'`))[0])).toBe(0)
  }
})

/** Instants, which are of other hours in Auckland and one of them of another day; and a record that is refused, of which no figure tells. */
function salesOf(userId: string, source = ''): MeantAppend[] {
  const at = (id: string, occurredAt: string, london: [string, number], there: [string, number], partition: number): MeantAppend => {
    const event = { eventId: id, userId, productId: 'P1', productName: 'Lamp', category: 'Home', city: 'Leeds', quantity: 2, unitPrice: '12.50', total: '25.00', currency: 'GBP', occurredAt }
    const fact: Fact = { source, id, kind: 'sale', orderLine: 1, product: 'P1', category: 'Home', city: 'Leeds', currency: 'GBP', quantity: 2, totalMinor: 2500n, day: london[0], hour: london[1], fields: JSON.stringify(event) }
    return { partition, value: Buffer.from(JSON.stringify(event)), logTimeMs: 0, meant: [fact], meantInAuckland: [{ ...fact, day: there[0], hour: there[1] }] }
  }
  return [
    at('p-1', '2025-03-09T10:00:00Z', ['2025-03-09', 10], ['2025-03-09', 23], 0),
    at('p-2', '2025-03-31T18:00:00Z', ['2025-03-31', 19], ['2025-04-01', 7], 1),
    { partition: 1, value: Buffer.from(`{"eventId":"p-3","userId":"${userId}","quantity":-1}`), logTimeMs: 0, meant: null, meantInAuckland: null },
  ]
}

/** The figures alone: what must not change when only the pointer or files do. */
function figures({ views, top, n, accounts, letters }: Merged): unknown {
  return { views, top, n, accounts, letters }
}

function stepClock(): (step: string) => void {
  let last = performance.now()
  return (step) => {
    process.stdout.write(`cluster-batch: ${step} after ${Math.round(performance.now() - last)} ms\n`)
    last = performance.now()
  }
}
