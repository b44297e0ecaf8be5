/** Backups: what is in them, what refuses them, and what is left when they are broken off. */
import { appendFile, readFile, readdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Decoder } from '#core/decode.ts'
import type { Lake } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { orphanFolder } from '#batch/orphans.ts'
import { acceptHeldBatch } from '#batch/run.ts'
import { manifestText, readManifest } from '#cli/backup/manifest.ts'
import { compareWithLake } from '#cli/backup/lake-files.ts'
import { checkBackup } from '#cli/backup/restore.ts'
import { readCommitted } from '#store/committed.ts'
import { openDatabase, run } from '#store/database.ts'
import { knownMigrations } from '#store/known-migrations.ts'
import { migrateStore, readMadeBy } from '#store/migrate.ts'
import { readPendingFiles } from '#store/pending-files.ts'
import { notRegisters, registeredLakeFiles, registers } from '#store/registered-files.ts'
import { version } from '#store/version.ts'
import { LoopWorker, digestOfStore, expectE0, logSchemaOf, plainSales, runBatchWith, whenCounted } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import type { BackupFolder } from '#test/lab/backup.ts'
import { backUp, loseStore, never, openForAll, putBack } from '#test/lab/backup.ts'
import { importFolder, importedSale, runLabImport } from '#test/lab/imports.ts'
import { fillOldStore } from '#test/lab/old-store.ts'
import { freshSchema } from '#test/postgres.ts'
import { waitUntil } from '#test/wait-until.ts'

let lab: Lab
let folder: BackupFolder

openForAll((...opened) => ([lab, folder] = opened))

async function fill(): Promise<void> {
  await lab.append(plainSales(lab, 30, 'a'))
  await using _worker = new LoopWorker(lab)
  await expectE0(lab)
}

/** Paths in a folder, of files alone. */
async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort()
}

async function schemasLike(name: string): Promise<string[]> {
  const rows = await run<{ name: string }>(lab.database.pool, `SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, $1) ORDER BY 1`, [name])
  return rows.map((row) => row.name)
}

describe('a backup', () => {
  let directory: string
  let logSchema: string

  beforeAll(async () => {
    await lab.clear()
    await fill()
    await runBatchWith(lab)
    directory = folder.next()
    logSchema = await logSchemaOf(lab)
    await backUp(lab, directory, { logSchema })
  })

  test('holds every table, the log and each registered file, for nobody else to read, and no password', async () => {
    const manifest = await checkBackup(directory, never, () => undefined)
    const tables = await run<{ name: string }>(lab.database.pool, 'SELECT tablename AS name FROM pg_tables WHERE schemaname = $1', [lab.database.schema])
    const held = (part: 'store' | 'log'): string[] => manifest.tables.filter((table) => table.part === part).map(({ name }) => name).sort()
    expect(held('store')).toEqual(tables.map(({ name }) => name).filter((name) => name !== 'migrations' && name !== 'speed_workers').sort())
    expect(held('log')).toEqual(['batches', 'partitions', 'topics'])
    expect(manifest.files).toEqual(await registeredLakeFiles(lab.database.pool, lab.database.schema))
    expect(manifest.files.length).toBeGreaterThan(0)
    expect(manifest).toMatchObject({ tidemark: version, madeBy: version, batch: 1, epoch: 2, migrations: knownMigrations, log: 'held', lake: 'held', committed: { [lab.topic]: { 0: 10, 1: 10, 2: 10 } }, horizon: { [lab.topic]: { 0: 10, 1: 10, 2: 10 } } })
    const files = await filesIn(directory)
    expect(files).toHaveLength(manifest.tables.length + manifest.files.length + 2)
    for (const file of files) expect((await stat(file)).mode & 0o777, file).toBe(0o600)
    for (const path of ['', 'store', 'log', 'lake']) expect((await stat(join(directory, path))).mode & 0o777, path).toBe(0o700)
    const { password } = new URL(lab.url)
    for (const file of files) expect((await readFile(file)).includes(password), file).toBe(false)
  })

  test('that lacks a file, or holds one that is cut short or changed, is refused with the file’s name', async () => {
    const files = await filesIn(directory)
    const of = (part: string): string => files.find((file) => file.startsWith(join(directory, part)) && file.endsWith(part === 'lake' ? '.parquet' : '.copy'))!
    const refused = async (file: string): Promise<void> => expect(putBack(lab, directory), file).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(file) })
    for (const file of [of('store'), of('log'), of('lake'), join(directory, 'store', 'ledger_pages.copy')]) {
      const whole = await readFile(file)
      await truncate(file, whole.length - 1)
      await refused(file)
      const changed = Buffer.from(whole)
      changed[whole.length >> 1]! ^= 1
      await writeFile(file, changed)
      await refused(file)
      await writeFile(file, whole)
      await rename(file, `${file}.away`)
      await refused(file)
      await rename(`${file}.away`, file)
    }
    const manifest = join(directory, 'manifest.json')
    const text = await readFile(manifest, 'utf8')
    await writeFile(manifest, text.slice(0, -20))
    await refused(manifest)
    await writeFile(manifest, text.replace('"batch": 1', '"batch": 2'))
    await refused(manifest)
    await rm(manifest)
    await expect(putBack(lab, directory)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/is no backup, or one that was not finished/) })
    await writeFile(manifest, text)
    await checkBackup(directory, never, () => undefined)
    await expect(checkBackup(folder.next(), never, () => undefined)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/There is no backup in/) })
  })

  test('replaces nothing, neither a folder nor a store nor a log', async () => {
    await expect(backUp(lab, directory)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/exists already/) })
    await expect(putBack(lab, directory)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/There is a store in schema .* already/) })
    const schema = await freshSchema(lab.url, 'empty')
    await expect(putBack(lab, directory, { schema, logSchema })).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/There is a log in schema .* already.*--keep-log/) })
    expect(await schemasLike(schema)).toEqual([])
    // An empty log that another start made is no log.
    const logCopy = await freshSchema(lab.url, 'empty_log')
    await (await openPostgresLog({ connectionString: lab.url, schema: logCopy }))[Symbol.asyncDispose]()
    // Nor is what a restoring left that was killed.
    await run(lab.database.pool, `CREATE SCHEMA ${schema}_restoring CREATE TABLE left_behind (n int)`)
    await putBack(lab, directory, { schema, logSchema: logCopy })
    expect(await schemasLike(schema)).toEqual([schema])
    await using log = await openPostgresLog({ connectionString: lab.url, schema: logCopy })
    expect(await log.bounds(lab.topic)).toEqual(await lab.log.bounds(lab.topic))
  })

  test('is put back beside a log that goes on, and not beside one that is older', async () => {
    const schema = await freshSchema(lab.url, 'beside')
    const restored = await putBack(lab, directory, { schema, logSchema, keepsLog: true })
    expect(restored.lake.missing).toEqual([])
    const older = await freshSchema(lab.url, 'older_log')
    await using log = await openPostgresLog({ connectionString: lab.url, schema: older })
    await log.create(lab.topic, lab.partitions)
    await expect(putBack(lab, directory, { schema: await freshSchema(lab.url, 'beside'), logSchema: older, keepsLog: true })).rejects.toMatchObject({
      code: 'config',
      message: expect.stringMatching(/ends at 0 in .* partition 0, before the 10 that the backup had counted/),
    })
  })

  test('of a log that is elsewhere is not put back where the log is to be embedded', async () => {
    const other = folder.next()
    await backUp(lab, other, { holdsLake: false })
    await expect(putBack(lab, other, { schema: await freshSchema(lab.url, 'elsewhere'), logSchema: await freshSchema(lab.url, 'elsewhere_log') })).rejects.toMatchObject({
      code: 'config',
      message: expect.stringMatching(/set LOG_URL/),
    })
  })

  test('of a newer Tidemark is refused with the version to use', async () => {
    const manifest = await readManifest(directory)
    const write = async (changes: object): Promise<string> => {
      const newer = folder.next()
      await backUp(lab, newer, { holdsLake: false })
      const { text, sum } = manifestText({ ...manifest, ...changes })
      await writeFile(join(newer, 'manifest.json'), text)
      await writeFile(join(newer, 'manifest.json.sha256'), sum)
      return newer
    }
    const migrated = await write({ madeBy: '9.8.7', migrations: [...knownMigrations, '0999_from_the_future'] })
    await expect(checkBackup(migrated, never, () => undefined)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/This backup was made by Tidemark 9\.8\.7.*Use Tidemark 9\.8\.7/) })
    const formed = await write({ format: 99, tidemark: '9.8.7' })
    await expect(checkBackup(formed, never, () => undefined)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/written by Tidemark 9\.8\.7 in a form/) })
  })

  test('made with other settings is refused before anything is there', async () => {
    const schema = await freshSchema(lab.url, 'settings')
    const decoderVersion = lab.decoder.logicVersion.replace('Europe/London', 'Asia/Tokyo')
    expect(decoderVersion).not.toBe(lab.decoder.logicVersion)
    await expect(putBack(lab, directory, { schema, decoderVersion })).rejects.toMatchObject({ code: 'config' })
    expect(await schemasLike(schema)).toEqual([])
  })
})

describe('broken off', () => {
  beforeEach(async () => {
    await lab.clear()
    await fill()
    await runBatchWith(lab)
  })

  test('at any step, a backup leaves nothing', async () => {
    const steps: string[] = []
    await backUp(lab, folder.next(), { onStep: (step, detail) => void steps.push(`${step} ${detail}`) })
    expect(steps.length).toBeGreaterThan(10)
    for (const at of [0, steps.findIndex((step) => step.includes('ledger_pages')), steps.length - 1]) {
      const stopping = new AbortController()
      const directory = folder.next()
      const onStep = (step: string, detail: string): void => {
        if (`${step} ${detail}` === steps[at]) stopping.abort()
      }
      await expect(backUp(lab, directory, { signal: stopping.signal, onStep }), steps[at]).rejects.toThrow(/abort/i)
      expect((await readdir(folder.root)).filter((name) => directory.endsWith(name) || name.includes('unfinished'))).toEqual([])
    }
  })

  test('at any step, a restoring leaves no store, and another try is whole', async () => {
    const directory = folder.next()
    await backUp(lab, directory)
    const digest = await digestOfStore(lab)
    const schema = await freshSchema(lab.url, 'again')
    const steps: string[] = []
    await putBack(lab, directory, { schema: await freshSchema(lab.url, 'steps'), onStep: (step, detail) => void steps.push(`${step} ${detail}`) })
    for (const at of [steps.findIndex((step) => step.includes('ledger_pages')), steps.length - 1]) {
      const stopping = new AbortController()
      const onStep = (step: string, detail: string): void => {
        if (`${step} ${detail}` === steps[at]) stopping.abort()
      }
      await expect(putBack(lab, directory, { schema, signal: stopping.signal, onStep }), steps[at]).rejects.toThrow(/abort/i)
      expect(await schemasLike(schema)).toEqual([])
    }
    await loseStore(lab)
    await putBack(lab, directory)
    const withoutState = (text: string): string => text.split('\n').filter((line) => !line.startsWith('lake_state ')).join('\n')
    expect(withoutState(await digestOfStore(lab))).toBe(withoutState(digest))
  })

  test('by a place that cannot be written to, a backup says so', async () => {
    const locked = folder.next()
    await writeFile(locked, '')
    await expect(backUp(lab, join(locked, 'below'))).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/cannot be written to/) })
  })
})

describe('the lake of a store', () => {
  let missing: string

  beforeAll(async () => {
    await lab.clear()
    await fill()
    await runBatchWith(lab)
    missing = (await registeredLakeFiles(lab.database.pool, lab.database.schema))[0]!.path
  })

  test('that lacks a file is not backed up; named, the store is put back and the file is told', async () => {
    const aside = `${orphanFolder}${missing}`
    await lab.lake.move(missing, aside)
    // Moved aside for an orphan it is still there, for a batch too.
    await backUp(lab, folder.next())
    // Also where that happens while it is read.
    let moves = 0
    const moving: Lake = Object.assign(Object.create(lab.lake) as Lake, {
      get: async (path: string) => {
        const found = await lab.lake.get(path)
        if (path !== aside || moves++ > 0) return found
        await lab.lake.move(aside, missing)
        return { ...found, read: found.read.bind(found) }
      },
      stat: (path: string) => lab.lake.stat(path),
    })
    await backUp({ ...lab, lake: moving }, folder.next())
    expect(moves).toBe(1)
    await lab.lake.move(missing, `away/${missing}`)
    const refused = folder.next()
    await expect(backUp(lab, refused)).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(missing) })
    const named = folder.next()
    await backUp(lab, named, { holdsLake: false })
    expect((await filesIn(named)).filter((file) => file.startsWith(join(named, 'lake')))).toEqual([])
    const restored = await putBack(lab, named, { schema: await freshSchema(lab.url, 'named') })
    expect(restored).toMatchObject({ filesPut: 0, lake: { missing: [missing], damaged: [] } })
    await lab.lake.move(`away/${missing}`, missing)
  })

  test('is compared by length, and by checksum when asked', async () => {
    const files = await registeredLakeFiles(lab.database.pool, lab.database.schema)
    const compare = (deep: boolean) => compareWithLake(lab.lake, files, { deep, signal: never, onFile: () => undefined })
    expect(await compare(true)).toEqual({ checked: files.length, missing: [], damaged: [] })
    const file = join(lab.lakeRoot, ...missing.split('/'))
    const whole = await readFile(file)
    const changed = Buffer.from(whole)
    changed[100]! ^= 1
    await writeFile(file, changed)
    expect(await compare(false)).toMatchObject({ missing: [], damaged: [] })
    expect(await compare(true)).toMatchObject({ missing: [], damaged: [missing] })
    await expect(backUp(lab, folder.next())).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(missing) })
    await appendFile(file, 'x')
    expect(await compare(false)).toMatchObject({ missing: [], damaged: [missing] })
    await writeFile(file, whole)
  })

  test('has every register of the schema known to the backup', async () => {
    const rows = await run<{ name: string }>(
      lab.database.pool,
      `SELECT table_name AS name FROM information_schema.columns WHERE table_schema = $1 AND column_name IN ('path', 'new_path', 'file_path', 'lake_path') GROUP BY 1 ORDER BY 1`,
      [lab.database.schema],
    )
    expect(rows.map(({ name }) => name)).toEqual([...Object.keys(registers), ...notRegisters].sort())
  })
})

test('a backup of a shop with an import, and with a topic that was made anew, is put back beside the log', async () => {
  await lab.clear()
  await fill()
  await using lines = await importFolder()
  await runLabImport(lab, { files: [await lines.write('old.csv', [importedSale('old-shop', { id: 'i1' }), importedSale('old-shop', { id: 'i2' })])] })
  await run(lab.database.pool, 'INSERT INTO log_bases (topic, partition, base) VALUES ($1, 0, 4)', [lab.topic])
  await run(lab.database.pool, 'UPDATE committed_offsets SET next_offset = next_offset + 4 WHERE topic = $1 AND partition = 0', [lab.topic])
  const directory = folder.next()
  const logSchema = await logSchemaOf(lab)
  await backUp(lab, directory, { logSchema })
  const schema = await freshSchema(lab.url, 'with_import')
  await putBack(lab, directory, { schema, logSchema, keepsLog: true })
  await using restored = openDatabase({ url: lab.url, schema })
  expect(await readCommitted(restored.pool, lab.topic)).toEqual(await readCommitted(lab.database.pool, lab.topic))
})

test('files that a held batch waits to put into the archive are in a backup: it is accepted where that was put back', async () => {
  await lab.clear()
  await fill()
  await runBatchWith(lab)
  const careless: Decoder = {
    ...lab.decoder,
    decode(record, topic) {
      const decoded = lab.decoder.decode(record, topic)
      return 'refusal' in decoded ? decoded : { events: decoded.events.map((event) => ({ ...event, city: 'Leeds' })) }
    },
  }
  await expect(runBatchWith(lab, { full: true, decoder: careless })).rejects.toMatchObject({ code: 'held' })
  const pending = await readPendingFiles(lab.database.pool, 2)
  expect(pending.length).toBeGreaterThan(0)
  const directory = folder.next()
  await backUp(lab, directory)
  await loseStore(lab)
  for (const { file } of pending) await rm(join(lab.lakeRoot, ...file.path.split('/')))
  await putBack(lab, directory)
  await acceptHeldBatch(lab.database, 2)
  expect(await compareWithLake(lab.lake, await registeredLakeFiles(lab.database.pool, lab.database.schema), { deep: true, signal: never, onFile: () => undefined })).toMatchObject({ missing: [], damaged: [] })
})

test('a backup of an older schema is put back and migrated, with the same figures', async () => {
  const schema = await freshSchema(lab.url, 'older')
  await using older = openDatabase({ url: lab.url, schema })
  await migrateStore(older, { upTo: '0004_losses_and_marks' })
  await fillOldStore(older)
  await migrateStore(older, { upTo: '0010_seasons' })
  // Its settings are those of its time, which are the lab's.
  await run(older.pool, 'UPDATE lake_state SET logic_version = $1', [lab.decoder.logicVersion])
  const revenue = async (pool: typeof older.pool): Promise<unknown> => (await run(pool, 'SELECT * FROM merged_revenue ORDER BY 1, 2')).map((row) => ({ ...row }))
  const before = await revenue(older.pool)
  const directory = folder.next()
  const manifest = await backUp({ ...lab, database: older }, directory)
  expect(manifest.migrations).toEqual(knownMigrations.slice(0, knownMigrations.indexOf('0010_seasons') + 1))
  const target = await freshSchema(lab.url, 'migrated')
  const restored = await putBack(lab, directory, { schema: target })
  expect(restored.migrated).toEqual(knownMigrations.slice(manifest.migrations.length))
  // It was written by hand, and its batch has no file.
  expect(restored.registerFault).toMatch(/ends at nothing where 7 is due/)
  await using migrated = openDatabase({ url: lab.url, schema: target })
  expect(await revenue(migrated.pool)).toEqual(before)
  expect(await readMadeBy(migrated.pool)).toBe(version)
  expect(await migrateStore(migrated)).toEqual([])
})

test('a backup made while the shop counts is of one moment: log, ledger and figures agree', async () => {
  await lab.clear()
  const directory = folder.next()
  {
    await using _worker = new LoopWorker(lab)
    await lab.append(plainSales(lab, 60, 'before'))
    await expectE0(lab)
    await runBatchWith(lab)
    // More is counted between the tables that must agree, and before the log is read.
    let sent = 0
    const onStep = async (_step: string, detail: string): Promise<void> => {
      if (!/^(store (committed_offsets|ledger_pages|live_)|log batches)/.test(detail)) return
      await lab.append(plainSales(lab, 6, `during-${sent}`))
      sent += 6
      await whenCounted(lab)
    }
    await backUp(lab, directory, { logSchema: await logSchemaOf(lab), onStep })
    expect(sent).toBeGreaterThanOrEqual(50)
  }
  const [schema, logSchema] = [await freshSchema(lab.url, 'moment'), await freshSchema(lab.url, 'moment_log')]
  await using lake = await openDiskLake({ root: join(folder.root, 'moment-lake') })
  const restored = await putBack(lab, directory, { schema, logSchema, lake })
  expect(restored).toMatchObject({ lake: { missing: [], damaged: [] }, registerFault: null })
  await using database = openDatabase({ url: lab.url, schema, connectionsMax: 10 })
  await using log = await openPostgresLog({ connectionString: lab.url, schema: logSchema, pollIntervalMs: 5 })
  await using engine = await openDuckDb({ lake, threads: 1 })
  const { end } = await log.bounds(lab.topic)
  for (const [partition, offset] of await readCommitted(database.pool, lab.topic)) expect(offset).toBeLessThanOrEqual(end.get(partition)!)
  const copy: Lab = Object.assign(Object.create(lab) as Lab, { database, log, lake, engine })
  {
    await using _worker = new LoopWorker(copy)
    await waitUntil('the rest to be counted', async () => [...(await readCommitted(database.pool, lab.topic))].every(([partition, offset]) => offset === end.get(partition)))
  }
  expect((await runBatchWith(copy, { full: true })).crossCheck.summary.result).toBe('exact')
  const [figures] = await run<{ n: bigint }>(database.pool, 'SELECT sum(transactions)::bigint AS n FROM merged_revenue')
  expect(Number(figures!.n)).toBe([...end.values()].reduce((sum, offset) => sum + offset, 0))
})
