/** Rows L1 to L9 of the fault catalogue on the disk lake: a lake that refuses, lies, loses or holds what nobody registered. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, open, readFile, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { archiveUpTo, repairArchive } from '#batch/archive.ts'
import { CorruptError, UnavailableError } from '#core/errors.ts'
import type { ParquetCodec } from '#core/ports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { readPointer } from '#store/batches.ts'
import { cutEpoch } from '#store/epochs.ts'
import type { ArchiveFile } from '#store/register.ts'
import { checkTiling } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { BatchCrashPoint } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { waitUntil } from '#test/wait-until.ts'
import { countAll, expectOnlyRegistered, pathsOfTopic, registeredFiles, sweepTopic } from './lake-steps.ts'
import { LoopWorker, batchOptionsOf, expectE0, isWhole, logSchemaOf, openTraffic, plainSales, runBatchWith, sale, whenCounted } from './setup.ts'

const allPartitions = [0, 1, 2]
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

const count = (): Promise<void> => countAll(lab)
const registered = (): Promise<ArchiveFile[]> => registeredFiles(lab)
const listed = (): Promise<string[]> => pathsOfTopic(lab, lab.lake)
const sweep = (): Promise<string[]> => sweepTopic(lab, lab.lake)
const expectTidy = (): Promise<void> => expectOnlyRegistered(lab, lab.lake)

async function published(): Promise<number> {
  return (await readPointer(lab.database.pool)).batch
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code })
}

/** Batches fail with `error` while live figures go on exactly; afterwards the next batch publishes them. */
async function expectPausedThenResumed(pause: () => Promise<() => Promise<void>>, message: RegExp): Promise<void> {
  const traffic = openTraffic(lab, 1)
  await using _worker = new LoopWorker(lab)
  await traffic(100)
  await whenCounted(lab)
  const serving = (await runBatchWith(lab)).batch.batch
  const resume = await pause()
  for (let round = 0; round < (isWhole ? 20 : 3); round++) {
    await traffic(40)
    await expectE0(lab)
    const ends = await lab.database.pool.query('SELECT * FROM archive_ends ORDER BY partition')
    const failure: unknown = await runBatchWith(lab).catch((thrown: unknown) => thrown)
    expect(failure).toBeInstanceOf(UnavailableError)
    expect((failure as Error).message).toMatch(message)
    // No offset moved, and the batch before goes on serving.
    expect((await lab.database.pool.query('SELECT * FROM archive_ends ORDER BY partition')).rows).toEqual(ends.rows)
    expect(await published()).toBe(serving)
    await checkExact(lab)
  }
  const { rows } = await lab.database.pool.query<{ message: string }>(`SELECT message FROM batches WHERE status = 'failed' ORDER BY batch DESC LIMIT 1`)
  expect(rows[0]!.message).toMatch(message)
  await resume()
  await whenCounted(lab)
  expect((await runBatchWith(lab)).crossCheck.summary.result).not.toBe('held')
  expect(await published()).toBeGreaterThan(serving)
  await checkExact(lab)
  await sweep()
  await expectTidy()
}

describe('a lake that does not take files', () => {
  test('L1 the folder refuses: archiving pauses, no offset moves, live figures go on; then it resumes', async () => {
    await expectPausedThenResumed(async () => {
      // A file where the month's folder should be refuses also whom permissions do not stop.
      const folder = join(lab.lakeRoot, lab.topic)
      const aside = join(lab.lakeRoot, `aside-${lab.topic}`)
      await rename(folder, aside)
      await writeFile(folder, '')
      return async () => {
        await rm(folder)
        await rename(aside, folder)
      }
    }, /a file stands where a folder should be/)
  })

  test.each(['created', 'written'] as const)('L7 the disk is full once a file is %s: as L1, and nothing half is left', async (at) => {
    await expectPausedThenResumed(async () => {
      lab.lakeFault = (point) => {
        if (point === at) throw systemError('ENOSPC')
      }
      return async () => {
        lab.lakeFault = null
        expect((await listed()).filter((path) => path.split('/').at(-1)!.startsWith('_'))).toEqual([])
      }
    }, /the disk is full: free space/)
  })

  test('L3 the file cannot get its name: an error, and the range is archived later', async () => {
    await expectPausedThenResumed(async () => {
      lab.lakeFault = (point) => {
        if (point === 'verified') throw systemError('EIO')
      }
      return async () => {
        lab.lakeFault = null
      }
    }, /EIO/)
  })

  test('L3 the file has its name and the answer says otherwise: it becomes an orphan and the range is registered once', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    await count()
    let named = 0
    lab.lakeFault = (point) => {
      if (point === 'linked' && named++ === 0) throw systemError('ETIMEDOUT')
    }
    await expect(runBatchWith(lab)).rejects.toBeInstanceOf(UnavailableError)
    lab.lakeFault = null
    const strays = await listed()
    expect(strays.length).toBeGreaterThan(0)
    await runBatchWith(lab)
    await checkTiling(lab.database.pool, (await readPointer(lab.database.pool)).epoch)
    await checkExact(lab)
    expect(await sweep()).toEqual(strays)
    await expectTidy()
  })
})

describe('L2 a file that is not what was written', () => {
  /** What the disk does to the closed temporary file before it is verified. */
  const damages: readonly (readonly [string, (file: string) => Promise<void>])[] = [
    ['cut short', async (file) => truncate(file, 100)],
    ['empty', async (file) => truncate(file, 0)],
    ['with bytes too many', async (file) => appendFile(file, 'PAR1')],
    ['with one other bit in its data', async (file) => flip(file, 40)],
    ['with one other bit in its footer', async (file) => flip(file, -12)],
  ]

  async function flip(file: string, at: number): Promise<void> {
    const bytes = await readFile(file)
    const place = at < 0 ? bytes.length + at : at
    const handle = await open(file, 'r+')
    await handle.write(Uint8Array.of(bytes[place]! ^ 1), 0, 1, place)
    await handle.close()
  }

  test.each(damages)('L2 %s: refused and removed before it has a name, written again by the next run', async (what, damage) => {
    await lab.append(plainSales(lab, 60, 'a'))
    await count()
    let damaged = ''
    // The port's own fault points are synchronous; the lake's verify is where a damaged disk is met.
    const lake = new Proxy(lab.lake, {
      get(target, name) {
        if (name !== 'put') {
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        }
        return (async (path, body, verify) =>
          target.put(path, body, async (file) => {
            const folder = dirname(target.location(path))
            const temporary = (await readdir(folder)).find((entry) => entry.startsWith('_'))!
            damaged = join(folder, temporary)
            await damage(damaged)
            await verify(file)
          })) satisfies Lab['lake']['put']
      },
    })
    await expect(runBatchWith(lab, { lake })).rejects.toBeInstanceOf(CorruptError)
    expect(damaged).not.toBe('')
    const strays = await listed()
    // What grew after it was verified has its name already; it is an orphan, and never read.
    expect(strays).toHaveLength(what === 'with bytes too many' ? 1 : 0)
    expect(await registered()).toEqual([])
    expect(await published()).toBe(0)
    await checkExact(lab)
    expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
    expect(await sweep()).toEqual(strays)
    await expectTidy()
  })

  test('L9 rows that were handed over and never written: the footer counts too few and the file is refused', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    await count()
    const forgetful: ParquetCodec = {
      rowCount: (file) => parquetCodec.rowCount(file),
      // As a writer does that is closed before its last append is done.
      encode: (columns, rowGroups) => parquetCodec.encode(columns, withoutLastRows(rowGroups)),
    }
    await expect(runBatchWith(lab, { codec: forgetful })).rejects.toThrow(/holds 19 rows where 20 were written/)
    expect(await registered()).toEqual([])
    expect(await listed()).toEqual([])
    await checkExact(lab)
    await runBatchWith(lab)
    await checkExact(lab)
  })

  async function* withoutLastRows<T>(rowGroups: AsyncIterable<readonly (readonly T[])[]> | Iterable<readonly (readonly T[])[]>): AsyncGenerator<readonly (readonly T[])[]> {
    for await (const group of rowGroups) yield group.map((column) => column.slice(0, -1))
  }
})

test.each<BatchCrashPoint>([
  'lake created',
  'lake written',
  'lake closed',
  'lake verified',
  'lake linked',
  'lake unlinked',
  'batch register',
  'batch recompute',
  'batch cross-check',
  'batch combine',
  'batch publish',
])('L4 kill -9 at "%s": nothing half is read, the next run archives each range once, what is left over is swept', async (point) => {
  await lab.append(plainSales(lab, 60, 'a'))
  await count()
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./batch-child.ts', import.meta.url)), lab.url, lab.database.schema, await logSchemaOf(lab), lab.topic, lab.lakeRoot, point],
    // What a killed query engine leaves behind goes with the lab.
    { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, TMPDIR: lab.lakeRoot } },
  )
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
  expect(signal).toBe('SIGKILL')
  await waitUntil('the sessions of the dead process to end', async () => {
    const { rowCount } = await lab.database.pool.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()`)
    return rowCount === 0
  })
  expect(await published()).toBe(0)
  await checkExact(lab)
  const before = await registered()
  const strays = (await listed()).filter((path) => !before.some((file) => file.path === path))
  expect(strays.length > 0).toBe(point.startsWith('lake') || point === 'batch register')
  await lab.append(plainSales(lab, 30, 'b'))
  await count()
  expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  expect(await sweep()).toEqual(strays)
  await expectTidy()
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  const { rows } = await lab.database.pool.query(`SELECT status FROM batches WHERE batch > 0 ORDER BY batch`)
  expect(rows.map((row: { status: string }) => row.status)).toEqual(['failed', 'published', 'published'])
})

test('L5 half a file under a registered name: the batch refuses, names it, and the version before goes on serving', async () => {
  await lab.append(plainSales(lab, 60, 'a'))
  await count()
  const serving = (await runBatchWith(lab)).batch.batch
  await lab.append(plainSales(lab, 30, 'b'))
  await count()
  const victim = (await registered())[1]!
  const location = lab.lake.location(victim.path)
  const whole = await readFile(location)
  // Cut; of the right length with other data; of the right length with a broken footer.
  const damaged = [whole.subarray(0, whole.length / 2), Buffer.concat([Buffer.alloc(whole.length / 2), whole.subarray(whole.length / 2)]), Buffer.concat([whole.subarray(0, -8), Buffer.alloc(8)])]
  for (const bytes of damaged) {
    await writeFile(location, bytes)
    const failure: unknown = await runBatchWith(lab, { full: true }).catch((thrown: unknown) => thrown)
    expect(failure).toBeInstanceOf(CorruptError)
    expect(JSON.stringify([(failure as CorruptError).message, (failure as CorruptError).details])).toContain(victim.path)
    expect(await published()).toBe(serving)
    await checkExact(lab)
  }
  // No hands needed but the command's: the log still has it.
  expect(await repairArchive({ ...batchOptionsOf(lab), fileOffsetsMax: 50 }, Number.MAX_SAFE_INTEGER)).toHaveLength(1)
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})

describe('L6 a register or a lake that somebody changed', () => {
  async function prepare(): Promise<ArchiveFile[]> {
    await lab.append(Array.from({ length: 150 }, (_, n) => sale({ id: `o-${n}`, unitMinor: n + 1, day: `2025-03-${String(1 + (n % 9)).padStart(2, '0')}` })))
    await count()
    await runBatchWith(lab)
    return registered()
  }

  async function expectRefused(message: RegExp): Promise<void> {
    const serving = await published()
    for (const full of [false, true]) {
      await expect(runBatchWith(lab, { full })).rejects.toThrow(message)
      expect(await published()).toBe(serving)
      await checkExact(lab)
    }
  }

  test('L6 an overlap in the register: detected before anything is summed', async () => {
    const [first] = await prepare()
    expect(first).toMatchObject({ fromOffset: 0, toOffset: 50 })
    await lab.database.pool.query(`INSERT INTO archive_files SELECT (f).* FROM (SELECT jsonb_populate_record(a, '{"path": "planted", "from_offset": 25, "to_offset": 75}') AS f FROM archive_files a WHERE a.path = $1) x`, [
      first!.path,
    ])
    await expectRefused(/hole or an overlap/)
  })

  test('L6 a gap in the register: detected before anything is summed', async () => {
    const files = await prepare()
    await lab.database.pool.query('DELETE FROM archive_files WHERE path = $1', [files[1]!.path])
    await expectRefused(/hole or an overlap/)
  })

  test('L6 a gap at the end of the register: detected before anything is summed', async () => {
    const files = await prepare()
    await lab.database.pool.query('DELETE FROM archive_files WHERE path = $1', [files.at(-1)!.path])
    await expectRefused(/hole or an overlap/)
  })

  test('L6 a file that nobody registered, of the right name and content: ignored, and reported as an orphan', async () => {
    const [first] = await prepare()
    const planted = `${dirname(first!.path)}/${lab.topic}+0+0+50+planted.parquet`
    await writeFile(lab.lake.location(planted), await readFile(lab.lake.location(first!.path)))
    await mkdir(lab.lake.location(`${lab.topic}/logged=1999-01`), { recursive: true })
    const foreign = `${lab.topic}/logged=1999-01/words.parquet`
    await writeFile(lab.lake.location(foreign), 'not parquet at all')
    await lab.append([sale({ id: 'later' })])
    await count()
    for (const full of [false, true]) {
      expect((await runBatchWith(lab, { full })).crossCheck.summary.result).toBe('exact')
      await checkExact(lab)
    }
    expect(await sweep()).toEqual([planted, foreign].sort())
    await expectTidy()
  })
})

test('L8 two archivers of one partition: one registered file a range, the other’s is an orphan, and sweeping leaves the registered ones', async () => {
  await lab.append(plainSales(lab, 240, 'a'))
  await count()
  const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
  let waiting = 0
  const bothWrote = Promise.withResolvers<void>()
  const archiver = (): Promise<ArchiveFile[]> =>
    archiveUpTo(
      {
        ...batchOptionsOf(lab),
        fileOffsetsMax: 30,
        // The first range of each is written before either registers it.
        beforeRegister: async () => {
          if (++waiting === 2) bothWrote.resolve()
          await bothWrote.promise
        },
      },
      epoch,
    )
  const [first, second] = await Promise.all([archiver(), archiver()])
  expect(first.length + second.length).toBe(9)
  await checkTiling(lab.database.pool, epoch)
  const files = await registered()
  expect(files.map((file) => `${file.partition}:${file.fromOffset}`)).toEqual(allPartitions.flatMap((partition) => [0, 30, 60].map((from) => `${partition}:${from}`)))
  expect(files.reduce((sum, file) => sum + file.rows, 0)).toBe(240)
  const strays = (await listed()).filter((path) => !files.some((file) => file.path === path))
  expect(strays.length).toBeGreaterThan(0)
  expect(await sweep()).toEqual(strays)
  await expectTidy()
  expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})
