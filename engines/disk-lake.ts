/**
 * The lake as a local folder.
 *
 * A file gets its name by `link`, which, unlike rename, never replaces: of two writers of one path exactly one wins, in one process
 * or in two. Until then its bytes stand under a name beginning with `_`, synced and verified. So a crash at any point leaves the
 * whole file, or a `_` name that no reader looks at, or (between link and unlink) both.
 */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import type { Dirent, Stats } from 'node:fs'
import { access, link, lstat, mkdir, open, readdir, stat, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { ConfigError, ConflictError, CorruptError, InvalidRequestError, TidemarkError } from '#core/errors.ts'
import type { Lake, LakeEntry, LakeFile, LakeVerify } from '#core/ports.ts'
import { hasErrorCode, translateDiskError } from './disk-errors.ts'
import { checkLakePath, isLakePath } from './lake-path.ts'

/**
 * Where a test may end the process (a crash) or throw (a failing step) while a file is put:
 * the temporary file exists and is empty · all bytes are written · they are synced and closed · they are verified ·
 * the file has its name beside the temporary one · the temporary name is gone, the folder is not yet synced.
 */
export const diskLakeFaultPoints = ['created', 'written', 'closed', 'verified', 'linked', 'unlinked'] as const
export type DiskLakeFaultPoint = (typeof diskLakeFaultPoints)[number]

export type DiskLakeOptions = {
  /** The lake's folder, made if it is not there. Must lie on a file system with hard links. */
  readonly root: string
  /** For tests only: called at each point of every `put`. */
  readonly faults?: (point: DiskLakeFaultPoint, path: string) => void
}

/** Opens a folder as a lake. Throws ConfigError where the folder cannot be made or written. */
export async function openDiskLake(options: DiskLakeOptions): Promise<Lake> {
  const root = resolve(options.root)
  try {
    await mkdir(root, { recursive: true })
    await access(root, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new ConfigError(`The lake's folder ${root} cannot be used: name a folder that this user can make and write to`, { root }, error)
  }
  return new DiskLake(root, options.faults ?? (() => {}))
}

class DiskLake implements Lake {
  readonly #root: string
  readonly #faults: (point: DiskLakeFaultPoint, path: string) => void
  /** Folders whose own entry in their parent is known to be on disk. */
  readonly #syncedFolders = new Set<string>()

  constructor(root: string, faults: (point: DiskLakeFaultPoint, path: string) => void) {
    this.#root = root
    this.#faults = faults
  }

  async put(path: string, body: AsyncIterable<Uint8Array>, verify: LakeVerify): Promise<LakeEntry> {
    const target = this.location(path)
    // Only spares the work: it is `link` that decides.
    if ((await this.#lstat(path)) !== null) throw conflict(path)
    const folder = dirname(target)
    await this.#makeFolder(folder, path)
    const temporary = join(folder, `_${randomUUID()}.tmp`)
    try {
      const bytes = await this.#write(temporary, path, body)
      this.#reach('closed', path)
      await verify({ path, bytes, read: (from, to) => this.#read(temporary, path, bytes, from, to) })
      this.#reach('verified', path)
      await this.#link(temporary, target, path)
    } catch (error) {
      await removeQuietly(temporary)
      throw error
    }
    // From here on the file stands whole under its name: a failure leaves an unregistered file, which is an orphan and never read.
    this.#reach('linked', path)
    await this.#attempt('finish', path, () => unlink(temporary))
    this.#reach('unlinked', path)
    await this.#attempt('sync the folder of', path, () => syncFolder(folder))
    const entry = await this.stat(path)
    if (entry === null) throw new CorruptError(`${path} vanished from the lake while it was put: another program removes files there`, { path })
    return entry
  }

  async get(path: string): Promise<LakeFile> {
    const entry = await this.stat(path)
    if (entry === null) throw missing(path)
    const location = this.location(path)
    return { path, bytes: entry.bytes, read: (from, to) => this.#read(location, path, entry.bytes, from, to) }
  }

  async stat(path: string): Promise<LakeEntry | null> {
    const stats = await this.#lstat(path)
    if (stats === null) return null
    if (!stats.isFile()) throw new CorruptError(`${path} of the lake is no file: something else was put in its place`, { path })
    return { path, bytes: stats.size, modifiedMs: Math.trunc(stats.mtimeMs) }
  }

  async *list(prefix: string): AsyncGenerator<LakeEntry> {
    const folder = prefix.replace(/\/$/, '')
    if (folder !== '') checkLakePath(folder)
    yield* this.#listFolder(folder)
  }

  async move(from: string, to: string): Promise<void> {
    const source = this.location(from)
    const target = this.location(to)
    if (source === target) throw conflict(to)
    await this.#makeFolder(dirname(target), to)
    try {
      await link(source, target)
    } catch (error) {
      if (hasErrorCode(error, 'ENOENT')) throw missing(from)
      if (!hasErrorCode(error, 'EEXIST')) throw translateDiskError(`move to ${to}`, from, this.#root, error)
      if (!(await this.#isHalfMoved(from, to))) throw conflict(to)
    }
    await this.#attempt('move', from, async () => {
      await syncFolder(dirname(target))
      await unlink(source)
      await syncFolder(dirname(source))
    })
  }

  async remove(path: string): Promise<void> {
    const location = this.location(path)
    await this.#attempt('remove', path, async () => {
      try {
        await unlink(location)
      } catch (error) {
        if (hasErrorCode(error, 'ENOENT')) return
        throw error
      }
      await syncFolder(dirname(location))
    })
  }

  location(path: string): string {
    return join(this.#root, ...checkLakePath(path).split('/'))
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #write(temporary: string, path: string, body: AsyncIterable<Uint8Array>): Promise<number> {
    const handle = await this.#attempt('write', path, () => open(temporary, 'wx'))
    try {
      this.#reach('created', path)
      let bytes = 0
      for await (const chunk of body) {
        await this.#attempt('write', path, () => writeFully(handle, chunk))
        bytes += chunk.byteLength
      }
      this.#reach('written', path)
      await this.#attempt('sync', path, () => handle.sync())
      const size = (await this.#attempt('check', path, () => handle.stat())).size
      if (size !== bytes) throw new CorruptError(`${path} was written with ${bytes} bytes and holds ${size}: check the disk`, { path, bytes, size })
      return bytes
    } finally {
      await this.#attempt('close', path, () => handle.close())
    }
  }

  async #link(temporary: string, target: string, path: string): Promise<void> {
    try {
      await link(temporary, target)
    } catch (error) {
      if (hasErrorCode(error, 'EEXIST')) throw conflict(path)
      throw translateDiskError('link', path, this.#root, error)
    }
  }

  async #read(location: string, path: string, bytes: number, from: number, to: number): Promise<Uint8Array> {
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to < from || to > bytes) {
      throw new InvalidRequestError(`${path} has ${bytes} bytes: it cannot be read from ${from} to ${to}`, { path, from, to, bytes })
    }
    const buffer = new Uint8Array(to - from)
    let filled = 0
    try {
      await using handle = await open(location, 'r')
      while (filled < buffer.length) {
        const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, from + filled)
        if (bytesRead === 0) break
        filled += bytesRead
      }
    } catch (error) {
      if (hasErrorCode(error, 'ENOENT')) throw missing(path)
      throw translateDiskError('read', path, this.#root, error)
    }
    if (filled < buffer.length) throw new CorruptError(`${path} ends at byte ${from + filled} and should have ${bytes}: the file was cut`, { path, bytes })
    return buffer
  }

  async #lstat(path: string): Promise<Stats | null> {
    try {
      return await lstat(this.location(path))
    } catch (error) {
      if (hasErrorCode(error, 'ENOENT')) return null
      throw error instanceof TidemarkError ? error : translateDiskError('look up', path, this.#root, error)
    }
  }

  async *#listFolder(folder: string): AsyncGenerator<LakeEntry> {
    for (const child of await this.#readFolder(folder)) {
      const path = folder === '' ? child.name : `${folder}/${child.name}`
      // A name that the port's rule forbids was put there by somebody else; no call of the port could touch it.
      if (!isLakePath(path)) continue
      if (child.isDirectory()) {
        yield* this.#listFolder(path)
      } else if (child.isFile()) {
        const entry = await this.stat(path)
        if (entry !== null) yield entry
      }
    }
  }

  /** Children in the order of the paths below them: a folder sorts as its name and `/`, after `a-b` and before `a0`. */
  async #readFolder(folder: string): Promise<Dirent[]> {
    try {
      const children = await readdir(join(this.#root, folder), { withFileTypes: true })
      const keyed = children.map((child) => ({ key: child.isDirectory() ? `${child.name}/` : child.name, child }))
      keyed.sort((a, b) => (a.key < b.key ? -1 : 1))
      return keyed.map(({ child }) => child)
    } catch (error) {
      if (hasErrorCode(error, 'ENOENT')) return []
      throw translateDiskError('list', folder, this.#root, error)
    }
  }

  /** A move that crashed between its two steps: both names are one file, and more than one name is left. */
  async #isHalfMoved(from: string, to: string): Promise<boolean> {
    return this.#attempt('look up', from, async () => {
      const [source, target] = await Promise.all([stat(this.location(from), { bigint: true }), stat(this.location(to), { bigint: true })])
      return source.ino === target.ino && source.dev === target.dev && source.nlink > 1n
    })
  }

  /** Makes the folder, and makes sure that it and the folders above it outlive a power cut. */
  async #makeFolder(folder: string, path: string): Promise<void> {
    const created = await this.#attempt('make the folder of', path, () => mkdir(folder, { recursive: true }))
    if (created === undefined && this.#syncedFolders.has(folder)) return
    await this.#attempt('sync the folder of', path, async () => {
      for (let at = folder; at !== this.#root; at = dirname(at)) await syncFolder(dirname(at))
    })
    this.#syncedFolders.add(folder)
  }

  /** A step that a test lets fail fails as the operating system's own would. */
  #reach(point: DiskLakeFaultPoint, path: string): void {
    try {
      this.#faults(point, path)
    } catch (error) {
      throw translateDiskError('write', path, this.#root, error)
    }
  }

  async #attempt<T>(doing: string, path: string, operation: () => Promise<T>): Promise<T> {
    try {
      return await operation()
    } catch (error) {
      throw translateDiskError(doing, path, this.#root, error)
    }
  }
}

async function writeFully(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.byteLength;) {
    const { bytesWritten } = await handle.write(chunk, at, chunk.byteLength - at)
    at += bytesWritten
  }
}

/** Windows has no way to sync a folder; NTFS keeps its names in a journal. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  await using handle = await open(folder, 'r')
  await handle.sync()
}

/** The error that made us give up is the one to tell; what stays under a `_` name is swept later. */
async function removeQuietly(temporary: string): Promise<void> {
  await unlink(temporary).catch(() => {})
}

function conflict(path: string): ConflictError {
  return new ConflictError(`${path} exists in the lake already: files are never replaced, write under a new name`, { path })
}

function missing(path: string): CorruptError {
  return new CorruptError(`${path} is missing from the lake: restore the file from a backup of the lake`, { path })
}
