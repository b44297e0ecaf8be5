import { execFile } from 'node:child_process'
import { link, mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, ConflictError, CorruptError, UnavailableError } from '#core/errors.ts'
import { translateDiskError } from '#engines/disk-errors.ts'
import { diskLakeFaultPoints, openDiskLake } from '#engines/disk-lake.ts'
import type { DiskLakeFaultPoint } from '#engines/disk-lake.ts'
import { chunksOf, pathsOf, testLake, textOf } from './lake-contract.ts'

const accept = async (): Promise<void> => {}
const crashScript = fileURLToPath(new URL('./disk-lake-crash.ts', import.meta.url))

testLake('local disk', async () => {
  const folder = await mkdtemp(join(tmpdir(), "tidemark lake's "))
  const root = join(folder, 'lake')
  return {
    lake: await openDiskLake({ root }),
    reopen: () => openDiskLake({ root }),
    // A file where the lake should be: no call can reach anything below it.
    breakDown: async () => {
      await rm(root, { recursive: true })
      await writeFile(root, 'not a folder')
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
})

describe('the disk lake from inside', () => {
  let root: string
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'tidemark-lake-'))
  })
  afterEach(async () => {
    await rm(root, { recursive: true })
  })

  const namedPoints: readonly DiskLakeFaultPoint[] = ['linked', 'unlinked']

  it.skipIf(process.platform === 'win32').each(diskLakeFaultPoints)('survives a crash at the point "%s"', async (point) => {
    expect(await crashAt(root, point, 'month/file')).toBe('SIGKILL')
    const named = namedPoints.includes(point)
    for (let time = 0; time < 3; time++) {
      await using lake = await openDiskLake({ root })
      const paths = await pathsOf(lake, '')
      const unfinished = paths.filter((path) => path.startsWith('month/_'))
      expect(paths.filter((path) => !unfinished.includes(path))).toEqual(named ? ['month/file'] : [])
      expect(unfinished).toHaveLength(point === 'unlinked' ? 0 : 1)
      if (named) expect(await textOf(lake, 'month/file')).toBe('the whole file')
      else expect(await lake.stat('month/file')).toBeNull()
    }
    await using lake = await openDiskLake({ root })
    const again = lake.put('month/file', chunksOf(Buffer.from('again')), accept)
    if (named) await expect(again).rejects.toBeInstanceOf(ConflictError)
    else expect(await again).toMatchObject({ path: 'month/file', bytes: 5 })
  })

  it.each(diskLakeFaultPoints)('leaves no half of a file where the disk is full at the point "%s"', async (point) => {
    await using failing = await openDiskLake({
      root,
      faults: (reached) => {
        if (reached === point) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      },
    })
    const failure = failing.put('month/file', chunksOf(Buffer.from('the whole file')), accept)
    await expect(failure).rejects.toBeInstanceOf(UnavailableError)
    await expect(failure).rejects.toThrow('free space')
    await using lake = await openDiskLake({ root })
    const visible = (await pathsOf(lake, '')).filter((path) => !path.startsWith('month/_'))
    expect(visible).toEqual(namedPoints.includes(point) ? ['month/file'] : [])
    if (visible.length > 0) expect(await textOf(lake, 'month/file')).toBe('the whole file')
    if (!namedPoints.includes(point)) expect(await pathsOf(lake, '')).toEqual([])
  })

  it('finishes a move that crashed between its two steps', async () => {
    await using lake = await openDiskLake({ root })
    await lake.put('a', chunksOf(Buffer.from('text')), accept)
    await link(lake.location('a'), lake.location('b'))
    await lake.move('a', 'b')
    expect(await pathsOf(lake, '')).toEqual(['b'])
    expect(await textOf(lake, 'b')).toBe('text')
  })

  it('notices that a file was cut after it was opened', async () => {
    await using lake = await openDiskLake({ root })
    await lake.put('a', chunksOf(Buffer.alloc(1000)), accept)
    const file = await lake.get('a')
    await truncate(lake.location('a'), 10)
    await expect(file.read(0, 1000)).rejects.toBeInstanceOf(CorruptError)
    await rm(lake.location('a'))
    await expect(file.read(0, 1)).rejects.toBeInstanceOf(CorruptError)
  })

  it('lists only files that it could have written', async () => {
    await using lake = await openDiskLake({ root })
    await lake.put('a/b', chunksOf(Buffer.from('x')), accept)
    await writeFile(join(root, 'a', 'with space'), '')
    await symlink(lake.location('a/b'), join(root, 'link'))
    expect(await pathsOf(lake, '')).toEqual(['a/b'])
    await expect(lake.stat('link')).rejects.toBeInstanceOf(CorruptError)
    await expect(lake.stat('a')).rejects.toBeInstanceOf(CorruptError)
  })

  it('says what to do about a folder that cannot be a lake', async () => {
    await writeFile(join(root, 'file'), '')
    const opening = openDiskLake({ root: join(root, 'file', 'lake') })
    await expect(opening).rejects.toBeInstanceOf(ConfigError)
    await expect(opening).rejects.toThrow('name a folder')
  })

  it('says unavailable where a file stands in the place of a folder', async () => {
    await using lake = await openDiskLake({ root })
    await mkdir(join(root, 'a'))
    await writeFile(join(root, 'a', 'b'), '')
    await expect(lake.put('a/b/c', chunksOf(Buffer.from('x')), accept)).rejects.toBeInstanceOf(UnavailableError)
    await expect(lake.stat('a/b/c')).rejects.toBeInstanceOf(UnavailableError)
  })

  it.each([
    ['ENOSPC', UnavailableError, 'free space'],
    ['EACCES', UnavailableError, 'let this user'],
    ['EIO', UnavailableError, 'check it'],
    ['EMFILE', UnavailableError, 'ulimit'],
    ['ENOTSUP', ConfigError, 'hard links'],
    ['EWHATEVER', UnavailableError, 'EWHATEVER'],
  ])('translates %s with its fix', (code, kind, fix) => {
    const error = translateDiskError('write', 'a/b', '/lake', Object.assign(new Error('from the system'), { code }))
    expect(error).toBeInstanceOf(kind)
    expect(error.message).toContain(fix)
    expect(error.message).toContain('a/b')
  })
})

/** Returns the signal that ended the process. */
async function crashAt(root: string, point: DiskLakeFaultPoint, path: string): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>()
  execFile(process.execPath, [crashScript, root, point, path], { cwd: dirname(crashScript) }, (error) => resolve(error?.signal ?? null))
  return promise
}
