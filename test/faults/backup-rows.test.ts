/** Row S9 of the fault catalogue from a backup that "tidemark backup" wrote, and the same shop on another machine. */
import { beforeEach, describe, expect, test } from 'vitest'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { readCommitted } from '#store/committed.ts'
import { run } from '#store/database.ts'
import { keepIncarnation, readIncarnation } from '#store/incarnation.ts'
import type { Lab } from '#test/lab.ts'
import { keyOf } from '#test/lab.ts'
import type { BackupFolder } from '#test/lab/backup.ts'
import { backUp, loseStore, openForAll, putBack } from '#test/lab/backup.ts'
import { openHdfsFolder } from '../contract/hdfs-folder.ts'
import { testEngine, whereMissing } from '../engines.ts'
import { openKafkaLab } from './kafka-lab.ts'
import { LoopWorker, digestOfStore, expectE0, logSchemaOf, openTraffic, plainSales, runBatchWith } from './setup.ts'

const kafka = testEngine('kafka')
const hdfs = testEngine('hdfs')

let lab: Lab
let folder: BackupFolder

openForAll((...opened) => ([lab, folder] = opened))
beforeEach(() => lab.clear())

async function count(stage: Lab): Promise<void> {
  await using _worker = new LoopWorker(stage)
  await expectE0(stage)
}

/** The database is lost an hour after its backup, while log and lake went on; it is put back, and all is right again by itself. */
async function putBackAfterAnHour(stage: Lab, holdsLake: boolean): Promise<void> {
  const traffic = openTraffic(stage, 9)
  await traffic(150)
  await count(stage)
  await runBatchWith(stage)
  await traffic(50)
  await count(stage)
  const directory = folder.next()
  const before = await readIncarnation(stage.database.pool)
  const manifest = await backUp(stage, directory, { holdsLake })
  // The hour after: more events, a batch whose number, folder and files the restored database knows nothing of, and a mark in the lake.
  await traffic(150)
  await count(stage)
  const { batch: later } = await runBatchWith(stage)
  await keepIncarnation(stage.database, stage.lake)
  await loseStore(stage)
  const restored = await putBack(stage, directory)
  expect(restored.lake).toMatchObject({ checked: manifest.files.length, missing: [], damaged: [] })
  expect(restored.filesPut).toBe(0)
  expect(restored.incarnation).not.toBe(before)
  // As of the backup, before a worker runs.
  const committed = await readCommitted(stage.database.pool, stage.topic)
  expect(Object.fromEntries(committed)).toEqual(manifest.committed[stage.topic])
  expect(committed).not.toEqual(stage.oracle.ends())
  await using _worker = new LoopWorker(stage)
  await expectE0(stage)
  const again = await runBatchWith(stage)
  expect(again.batch.batch).toBe(later.batch)
  expect(again.crossCheck.summary.result).toBe('exact')
  await expectE0(stage)
  await traffic(50)
  await expectE0(stage)
  expect((await runBatchWith(stage, { full: true })).crossCheck.summary.result).toBe('exact')
  await expectE0(stage)
  expect((await keepIncarnation(stage.database, stage.lake)).isNew).toBe(false)
}

test.each([
  ['and its lake', true],
  ['while the lake stays', false],
])('S9 from a backup of the store %s, the database is put back by an hour: counted again from the log, the figures are right without a hand', async (_of, holdsLake) => {
  await putBackAfterAnHour(lab, holdsLake)
})

describe(`on a real Kafka${whereMissing('kafka')}`, { skip: kafka === null }, () => {
  test('S9 from a backup, while Kafka moved on: counted again from it, the figures are right without a hand', { timeout: 120_000 }, async () => {
    await using own = await openKafkaLab(kafka!)
    await putBackAfterAnHour(own.lab, true)
  })
})

describe(`on a real HDFS${whereMissing('hdfs')}`, { skip: hdfs === null }, () => {
  test('S9 the lake’s files go from a backup into HDFS, and from there into another backup, byte for byte', { timeout: 120_000 }, async () => {
    await lab.append(plainSales(lab, 30, 'a'))
    await count(lab)
    await runBatchWith(lab)
    const [first, second] = [folder.next(), folder.next()]
    const { files } = await backUp(lab, first)
    expect(files.length).toBeGreaterThan(0)
    await using place = openHdfsFolder(hdfs!)
    await using lake = await openHdfsLake({ url: place.url(), location: `hdfs://unused${place.path}` })
    await loseStore(lab)
    expect(await putBack(lab, first, { lake })).toMatchObject({ filesPut: files.length, lake: { checked: files.length, missing: [], damaged: [] } })
    expect((await backUp({ ...lab, lake }, second)).files).toEqual(files)
  })
})

test('S9 a store put back without its incarnation renewed, as by a file copy, takes a new one at the lake’s newer mark', async () => {
  await lab.append(plainSales(lab, 30, 'a'))
  await count(lab)
  await runBatchWith(lab)
  const directory = folder.next()
  const { incarnation } = await backUp(lab, directory)
  await keepIncarnation(lab.database, lab.lake)
  await loseStore(lab)
  const restored = await putBack(lab, directory)
  expect(restored.incarnation).not.toBe(incarnation)
  // As pg_basebackup would have brought it back.
  await run(lab.database.pool, 'UPDATE lake_state SET incarnation = $1, mark = 0', [incarnation])
  expect((await keepIncarnation(lab.database, lab.lake)).isNew).toBe(true)
  await count(lab)
})

test('S9 on another machine: store, log and lake come back from the backup alone, exact, and the shop goes on', async () => {
  const traffic = openTraffic(lab, 10)
  await traffic(150)
  await count(lab)
  await runBatchWith(lab)
  // Counted in part, and beyond the horizon.
  await lab.append(plainSales(lab, 90, 'b'))
  await count(lab)
  await lab.append(plainSales(lab, 30, 'c'))
  const directory = folder.next()
  const logSchema = await logSchemaOf(lab)
  const manifest = await backUp(lab, directory, { logSchema })
  const digest = await digestOfStore(lab)
  await loseStore(lab)
  const logCopy = `${logSchema}_new`
  await using lake = await openDiskLake({ root: `${folder.root}/other-lake` })
  const restored = await putBack(lab, directory, { logSchema: logCopy, lake })
  expect(restored).toMatchObject({ filesPut: manifest.files.length, lake: { missing: [], damaged: [] }, migrated: [], registerFault: null })
  expect(manifest.files.length).toBeGreaterThan(2)
  const withoutState = (text: string): string => text.split('\n').filter((line) => !line.startsWith('lake_state ')).join('\n')
  expect(withoutState(await digestOfStore(lab))).toBe(withoutState(digest))
  await using log = await openPostgresLog({ connectionString: lab.url, schema: logCopy, pollIntervalMs: 5 })
  expect(await log.bounds(lab.topic)).toEqual(await lab.log.bounds(lab.topic))
  await using other: Lab = Object.assign(Object.create(lab) as Lab, { log, lake, [Symbol.asyncDispose]: async () => undefined })
  const { openDuckDb } = await import('#engines/duckdb.ts')
  await using engine = await openDuckDb({ lake, threads: 1 })
  await using _worker = new LoopWorker(other)
  await expectE0(other)
  expect((await runBatchWith(other, { engine, full: true })).crossCheck.summary.result).toBe('exact')
  await expectE0(other)
  const more = plainSales(lab, 60, 'd')
  // Both logs take them, so that the oracle's positions are those of either.
  await lab.append(more)
  await log.append(lab.topic, more.map(({ partition, value, logTimeMs }) => ({ key: keyFor(partition), value, logTimeMs })))
  await expectE0(other)
  expect((await runBatchWith(other, { engine })).crossCheck.summary.result).toBe('exact')
  await expectE0(other)
})

const keys = new Map<number, string>()
function keyFor(partition: number): string {
  if (!keys.has(partition)) keys.set(partition, keyOf(partition, lab.partitions))
  return keys.get(partition)!
}
