/** Rows L1 to L8 and L19 of the fault catalogue on a real HDFS, with the real archiver, log and register: a NameNode and a DataNode of the test's own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ArchiveOptions } from '#batch/archive.ts'
import { archiveUpTo, repairArchive } from '#batch/archive.ts'
import { checkDigests } from '#batch/file-digest.ts'
import { CorruptError, TidemarkError, UnavailableError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import type { HdfsLakeFaultPoint } from '#engines/hdfs-lake.ts'
import { hdfsLakeFaultPoints, openHdfsLake } from '#engines/hdfs-lake.ts'
import { cutEpoch } from '#store/epochs.ts'
import type { ArchiveFile } from '#store/register.ts'
import { checkTiling } from '#store/register.ts'
import type { HdfsFolder } from '#test/contract/hdfs-folder.ts'
import { openHdfsFolder } from '#test/contract/hdfs-folder.ts'
import { HdfsProxy } from '#test/contract/hdfs-proxy.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { waitUntil } from '#test/wait-until.ts'
import { OwnHdfs } from './hdfs-engine.ts'
import { countAll, expectOnlyRegistered, pathsOfTopic, registeredFiles, sweepTopic } from './lake-steps.ts'
import { LoopWorker, batchOptionsOf, expectE0, isWhole, logSchemaOf, openTraffic, plainSales, whenCounted } from './setup.ts'

const limits = { roundsMax: 2, backoffMs: 20 }
/** For a server that is known to hang. */
const shortLimits = { ...limits, connectTimeoutMs: 1_000, answerTimeoutMs: 1_500, idleTimeoutMs: 1_500 }

describe(`HDFS${whereMissing('hdfs')}`, { skip: testEngine('hdfs') === null }, () => {
  let lab: Lab
  let hdfs: OwnHdfs
  let folder: HdfsFolder
  let proxy: HdfsProxy
  let lake: Lake
  /** Of the lake that the archiver writes to; cleared before each test. */
  let fault: ((point: HdfsLakeFaultPoint, path: string) => void | Promise<void>) | null

  beforeAll(async () => {
    lab = await openLab()
    hdfs = await OwnHdfs.open()
    proxy = await HdfsProxy.open(hdfs.nameNode)
  })
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]()
    await hdfs?.[Symbol.asyncDispose]()
    await lab?.[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    await lab.clear()
    fault = null
    folder = openHdfsFolder(hdfs.nameNode)
    lake = await openHdfsLake({ url: folder.url(proxy.address), location: '', limits, faults: (point, path) => fault?.(point, path) })
    return async () => {
      await lake[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    }
  })

  function optionsOf(overrides: Partial<ArchiveOptions> = {}): ArchiveOptions {
    return { ...batchOptionsOf(lab), lake, ...overrides }
  }

  /** Cuts, and archives up to the cut. */
  async function archive(overrides: Partial<ArchiveOptions> = {}): Promise<ArchiveFile[]> {
    const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
    return archiveUpTo(optionsOf(overrides), epoch)
  }

  /** Every record that was counted lies in one registered file, which holds the bytes that were registered, and the lake holds nothing else. */
  async function expectWhole(): Promise<void> {
    const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
    await archiveUpTo(optionsOf(), epoch)
    await checkTiling(lab.database.pool, epoch)
    const files = await registeredFiles(lab)
    const ends = [...lab.oracle.ends().values()].reduce((sum, end) => sum + end, 0)
    expect(files.reduce((sum, file) => sum + file.toOffset - file.fromOffset, 0)).toBe(ends)
    await checkDigests(lake, files, null)
    await expectOnlyRegistered(lab, lake)
  }

  /** Archiving fails so while live figures go on exactly; no offset moves, nothing is left; afterwards it goes on. */
  async function expectPausedThenResumed(pause: () => Promise<() => Promise<void>>, message: RegExp): Promise<void> {
    const traffic = openTraffic(lab, 1)
    await using _worker = new LoopWorker(lab)
    await traffic(100)
    await whenCounted(lab)
    await archive()
    const before = await registeredFiles(lab)
    const resume = await pause()
    try {
      for (let round = 0; round < (isWhole ? 20 : 1); round++) {
        await traffic(40)
        await expectE0(lab)
        const failure: unknown = await archive().catch((thrown: unknown) => thrown)
        expect(failure).toBeInstanceOf(UnavailableError)
        expect((failure as Error).message).toMatch(message)
        expect(await registeredFiles(lab)).toEqual(before)
        await expectE0(lab)
      }
    } finally {
      await resume()
    }
    fault = null
    await waitUntil('the archive to go on', () => archive().then(() => true, (error: unknown) => error instanceof TidemarkError && error.retryable ? false : Promise.reject(error as Error)), 60_000)
    await sweepTopic(lab, lake)
    await expectWhole()
  }

  test('L1 the NameNode is in safe mode: archiving pauses with advice, no offset moves, live figures go on; out of it archiving resumes', async () => {
    await expectPausedThenResumed(async () => {
      await hdfs.admin('-safemode', 'enter')
      return async () => void (await hdfs.admin('-safemode', 'leave'))
    }, /safe mode.*-safemode leave/)
  })

  test('L2 the DataNode is killed: no success; back again, archiving resumes', async () => {
    await expectPausedThenResumed(async () => {
      await hdfs.kill('datanode-1')
      return () => hdfs.start()
    }, /cannot be reached|no DataNode could take/)
  })

  test('L2 the DataNode is killed in mid-file: no success, nothing under the final name, and archived when it is back', async () => {
    await expectPausedThenResumed(async () => {
      let isUp = true
      fault = async (point) => {
        if (point !== 'created' || !isUp) return
        isUp = false
        await hdfs.kill('datanode-1')
      }
      return () => hdfs.start()
    }, /cannot be reached|no DataNode could take/)
  })

  test('L2 the DataNode stops answering: time-outs, no success; awake again, archiving resumes', async () => {
    await expectPausedThenResumed(async () => {
      hdfs.signal('datanode-1', 'SIGSTOP')
      const patient = lake
      lake = await openHdfsLake({ url: folder.url(), location: '', limits: shortLimits })
      return async () => {
        hdfs.signal('datanode-1', 'SIGCONT')
        await lake[Symbol.asyncDispose]()
        lake = patient
      }
      // After some seconds the NameNode knows that it is gone and sends nobody there.
    }, /did not .* within \d+ ms|no DataNode could take/)
  })

  test('L3 the answer to the rename is lost after it succeeded: found by looking, and registered once', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    await countAll(lab)
    proxy.loseAnswerTo('op=RENAME')
    expect(await archive()).toHaveLength(3)
    expect(proxy.losses).toBe(1)
    await expectWhole()
  })

  test('L3 the name is taken by another file: never replaced, and the range is written under a new name', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    await countAll(lab)
    let taken = ''
    fault = async (point, path) => {
      if (point !== 'verified' || taken !== '') return
      taken = path
      await folder.plant(path, Buffer.from('somebody else’s'))
    }
    expect(await archive()).toHaveLength(3)
    expect((await folder.read(taken)).toString()).toBe('somebody else’s')
    expect(await sweepTopic(lab, lake)).toEqual([taken])
    await expectWhole()
  })

  test.each([...hdfsLakeFaultPoints, 'register'])('L4 kill -9 of the archiver at "%s": nothing half is read, the next run archives each range once, what is left over is swept', async (point) => {
    await lab.append(plainSales(lab, 60, 'a'))
    await countAll(lab)
    const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
    const script = fileURLToPath(new URL('./hdfs-child.ts', import.meta.url))
    const child = spawn(process.execPath, [script, lab.url, lab.database.schema, await logSchemaOf(lab), lab.topic, folder.url(), String(epoch), point], { stdio: ['ignore', 'ignore', 'inherit'] })
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
    expect(signal).toBe('SIGKILL')
    expect(await registeredFiles(lab)).toEqual([])
    // A DataNode may make the file of a cut upload a moment after the cut.
    const strays = await waitUntil('what the archiver left', async () => {
      const paths = await pathsOfTopic(lab, lake)
      return paths.length > 0 ? paths : null
    })
    const isNamed = point === 'renamed' || point === 'register'
    expect(strays).toHaveLength(1)
    expect(strays.every((path) => path.split('/').at(-1)!.startsWith('_'))).toBe(!isNamed)
    expect(await archiveUpTo(optionsOf(), epoch)).toHaveLength(3)
    expect(await sweepTopic(lab, lake)).toEqual(strays)
    await expectWhole()
  })

  test('L5 half a file under a registered name: named as corrupt, and written again from the log', async () => {
    await lab.append(plainSales(lab, 90, 'a'))
    await countAll(lab)
    const [victim, ...others] = await archive()
    const whole = await folder.read(victim!.path)
    const damaged = [whole.subarray(0, whole.length / 2), Buffer.concat([Buffer.alloc(whole.length / 2), whole.subarray(whole.length / 2)]), Buffer.concat([whole.subarray(0, -8), Buffer.alloc(8)])]
    for (const bytes of damaged) {
      await folder.plant(victim!.path, bytes)
      await expect(checkDigests(lake, others, null)).resolves.toBeUndefined()
      const failure: unknown = await checkDigests(lake, await registeredFiles(lab), null).catch((thrown: unknown) => thrown)
      expect(failure).toBeInstanceOf(CorruptError)
      expect((failure as CorruptError).details).toMatchObject({ path: victim!.path })
    }
    expect(await repairArchive(optionsOf(), Number.MAX_SAFE_INTEGER)).toHaveLength(1)
    expect(await sweepTopic(lab, lake)).toEqual([victim!.path])
    await expectWhole()
  })

  test('L6 an overlap or a gap in the register is refused; a file that nobody registered is ignored, and swept', async () => {
    await lab.append(plainSales(lab, 300, 'a'))
    await countAll(lab)
    const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
    const [first, second] = await archiveUpTo(optionsOf(), epoch)
    const planted = `${dirname(first!.path)}/${lab.topic}+0+0+50+planted.parquet`
    await folder.plant(planted, await folder.read(first!.path))
    await checkTiling(lab.database.pool, epoch)
    const pool = lab.database.pool
    await pool.query(`INSERT INTO archive_files SELECT (f).* FROM (SELECT jsonb_populate_record(a, '{"path": "planted", "from_offset": 25, "to_offset": 75}') AS f FROM archive_files a WHERE a.path = $1) x`, [first!.path])
    await expect(checkTiling(pool, epoch)).rejects.toThrow(/hole or an overlap/)
    await pool.query(`DELETE FROM archive_files WHERE path = 'planted'`)
    const { rows } = await pool.query<{ kept: unknown }>('DELETE FROM archive_files WHERE path = $1 RETURNING to_jsonb(archive_files) AS kept', [second!.path])
    await expect(checkTiling(pool, epoch)).rejects.toThrow(/hole or an overlap/)
    await pool.query('INSERT INTO archive_files SELECT * FROM jsonb_populate_record(NULL::archive_files, $1)', [rows[0]!.kept])
    expect(await sweepTopic(lab, lake)).toEqual([planted])
    await expectWhole()
  })

  test('L7 the folder’s quota is used up: as L1, and nothing half is left', async () => {
    await expectPausedThenResumed(async () => {
      await hdfs.admin('-setSpaceQuota', '1m', folder.path)
      return async () => {
        await hdfs.admin('-clrSpaceQuota', folder.path)
        expect((await pathsOfTopic(lab, lake)).filter((path) => path.split('/').at(-1)!.startsWith('_'))).toEqual([])
      }
    }, /quota is used up.*-setSpaceQuota/)
  })

  test('L8 two archivers of one partition: one registered file a range, the other’s is an orphan, and sweeping leaves the registered ones', async () => {
    await lab.append(plainSales(lab, 240, 'a'))
    await countAll(lab)
    const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
    await using other = await openHdfsLake({ url: folder.url(), location: '' })
    let waiting = 0
    const bothWrote = Promise.withResolvers<void>()
    const archiver = (own: Lake): Promise<ArchiveFile[]> =>
      archiveUpTo(
        optionsOf({
          lake: own,
          fileOffsetsMax: 30,
          beforeRegister: async () => {
            if (++waiting === 2) bothWrote.resolve()
            await bothWrote.promise
          },
        }),
        epoch,
      )
    const [first, second] = await Promise.all([archiver(lake), archiver(other)])
    expect(first.length + second.length).toBe(9)
    const files = await registeredFiles(lab)
    const strays = (await pathsOfTopic(lab, lake)).filter((path) => !files.some((file) => file.path === path))
    expect(strays.length).toBeGreaterThan(0)
    expect(await sweepTopic(lab, lake)).toEqual(strays)
    await expectWhole()
  })

  test('L19 the lake is wiped and the log still has everything: written again, the same to the row', async () => {
    await lab.append(plainSales(lab, 240, 'a'))
    await countAll(lab)
    await archive()
    const contentsOf = (files: readonly ArchiveFile[]): unknown[] => files.map(({ path: _path, ...contents }) => contents).sort((a, b) => a.partition - b.partition || a.fromOffset - b.fromOffset)
    const before = await registeredFiles(lab)
    await folder.call('DELETE', 'DELETE', '', { recursive: 'true' })
    await expect(checkDigests(lake, before, null)).rejects.toBeInstanceOf(CorruptError)
    expect(await repairArchive(optionsOf(), Number.MAX_SAFE_INTEGER)).toHaveLength(before.length)
    expect(contentsOf(await registeredFiles(lab))).toEqual(contentsOf(before))
    await expectWhole()
  })
})
