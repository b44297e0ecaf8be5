/**
 * The lake as a folder of HDFS, through WebHDFS.
 *
 * WebHDFS can say "created" of a file that a DataNode could not close, `false` of a rename that was done, and nothing at all of one that was. So no
 * answer to a write is believed: what counts is what the NameNode says of both names afterwards. A file's bytes stand under a name beginning with `_` until
 * its length, its blocks and its checksum are those of what was sent and the caller has verified it; then it gets its name by a rename that never
 * replaces. A crash at any point leaves the whole file, or a `_` name that no reader looks at. docs/decisions/0013-hdfs-through-webhdfs.md says what is
 * done by the package `webhdfs` and what is not.
 */
import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path/posix'
import { ConflictError, CorruptError, InvalidRequestError, TidemarkError, UnavailableError } from '#core/errors.ts'
import type { Lake, LakeEntry, LakeFile, LakeVerify } from '#core/ports.ts'
import { ChecksumOfFile, compareChecksums } from './hdfs-checksum.ts'
import type { Located, Location, Upload } from './hdfs-data-nodes.ts'
import { DataNodes } from './hdfs-data-nodes.ts'
import { isException, propertyOf, translateRefusal } from './hdfs-errors.ts'
import type { HdfsLimits } from './hdfs-http.ts'
import { authorityOf, backOff, defaultLimits } from './hdfs-http.ts'
import type { Outcome } from './hdfs-name-nodes.ts'
import { NameNodes, valueOf } from './hdfs-name-nodes.ts'
import type { HdfsAddress } from './hdfs-url.ts'
import { parseHdfsUrl } from './hdfs-url.ts'
import { checkLakePath, isLakePath } from './lake-path.ts'

/**
 * Where a test may end the process or throw while a file is put: the temporary file is begun · all bytes are taken by a DataNode · they are known to be
 * whole · they are verified by the caller · the file has its name.
 */
export const hdfsLakeFaultPoints = ['created', 'written', 'closed', 'verified', 'renamed'] as const
export type HdfsLakeFaultPoint = (typeof hdfsLakeFaultPoints)[number]

export type HdfsLakeOptions = {
  /** `webhdfs://host:port[,host:port…]/folder?user=NAME&datanodes=HOST:PORT,…`: the NameNodes' web addresses. */
  readonly url: string
  /** The same folder as the query engine names it, such as `hdfs://namenode:8020/shopsphere`; empty for `hdfs:///folder`. */
  readonly location: string
  readonly limits?: Partial<HdfsLimits>
  /** Of the files that are written; a multiple of 512, by default 128 MiB. */
  readonly blockBytes?: number
  /** For tests only: called at each point of every `put`. */
  readonly faults?: (point: HdfsLakeFaultPoint, path: string) => void | Promise<void>
}

/** A file or folder as the NameNode describes it. */
type Status = {
  /** Its name in the folder that was listed; empty where the path itself was asked for. */
  readonly name: string
  readonly isFile: boolean
  readonly bytes: number
  readonly modifiedMs: number
  /** Stays with the file through renames; null where the server does not tell. */
  readonly fileId: number | null
}

const filePermission = '640'
const folderPermission = '750'
/** Given with every file, so that its checksum can be computed beforehand. */
const defaultBlockBytes = 128 * 1024 * 1024
/** After a cut upload: a DataNode may still be about to make the file. */
const settleRounds = 5

/** Opens a folder of HDFS as a lake, without asking HDFS anything yet. Throws ConfigError where the URL cannot be one. */
export async function openHdfsLake(options: HdfsLakeOptions): Promise<Lake> {
  return new HdfsLake(parseHdfsUrl(options.url, options.location), options)
}

class HdfsLake implements Lake {
  readonly #root: string
  readonly #location: string
  readonly #limits: HdfsLimits
  readonly #blockBytes: number
  readonly #nameNodes: NameNodes
  readonly #dataNodes: DataNodes
  readonly #faults: (point: HdfsLakeFaultPoint, path: string) => void | Promise<void>

  constructor(address: HdfsAddress, options: HdfsLakeOptions) {
    const limits = { ...defaultLimits, ...options.limits }
    this.#root = address.root
    this.#location = address.location
    this.#limits = limits
    this.#blockBytes = options.blockBytes ?? defaultBlockBytes
    this.#nameNodes = new NameNodes(address, limits)
    this.#dataNodes = new DataNodes(this.#nameNodes, address.dataNodes, limits)
    this.#faults = options.faults ?? (() => {})
  }

  async put(path: string, body: AsyncIterable<Uint8Array>, verify: LakeVerify): Promise<LakeEntry> {
    const target = this.#absolute(path)
    // Only spares the work: it is the rename that decides.
    if ((await this.#status(target, path)) !== null) throw conflict(path)
    const folder = dirname(target)
    // A NameNode in safe mode, without room or without leave for this user says so here, before any of the body is taken.
    await this.#makeFolder(folder, path)
    const temporary = `${folder}/_${randomUUID()}.tmp`
    let upload: Upload | null = null
    let isNamed = false
    try {
      upload = await this.#beginUpload(temporary, path)
      await this.#faults('created', path)
      const checksum = new ChecksumOfFile(this.#blockBytes)
      let bytes = 0
      await upload.send(body, (chunk) => {
        checksum.update(chunk)
        bytes += chunk.byteLength
      })
      await this.#faults('written', path)
      const { status: written, isProven } = await this.#checkWritten(temporary, path, bytes, checksum)
      await this.#faults('closed', path)
      await verify({ path, bytes, isProven, read: (from, to) => this.#read(temporary, path, bytes, from, to) })
      await this.#faults('verified', path)
      const named = await this.#rename(temporary, target, path, path, written)
      isNamed = true
      await this.#faults('renamed', path)
      return { path, bytes: named.bytes, modifiedMs: named.modifiedMs }
    } catch (error) {
      if (!isNamed) await this.#removeQuietly(temporary, upload)
      throw error
    }
  }

  async get(path: string): Promise<LakeFile> {
    const entry = await this.stat(path)
    if (entry === null) throw missing(path)
    const absolute = this.#absolute(path)
    return { path, bytes: entry.bytes, read: (from, to) => this.#read(absolute, path, entry.bytes, from, to) }
  }

  async stat(path: string): Promise<LakeEntry | null> {
    const status = await this.#status(this.#absolute(path), path)
    if (status === null) return null
    if (!status.isFile) throw notAFile(path)
    return { path, bytes: status.bytes, modifiedMs: status.modifiedMs }
  }

  async *list(prefix: string): AsyncGenerator<LakeEntry> {
    const folder = prefix.replace(/\/$/, '')
    if (folder !== '') checkLakePath(folder)
    yield* this.#listFolder(folder)
  }

  async move(from: string, to: string): Promise<void> {
    const source = this.#absolute(from)
    const target = this.#absolute(to)
    if (source === target) throw conflict(to)
    const status = await this.#status(source, from)
    if (status === null) throw missing(from)
    if (!status.isFile) throw notAFile(from)
    if ((await this.#status(target, to)) !== null) throw conflict(to)
    await this.#makeFolder(dirname(target), to)
    await this.#rename(source, target, from, to, status)
  }

  async remove(path: string): Promise<void> {
    const absolute = this.#absolute(path)
    const status = await this.#status(absolute, path)
    if (status === null) return
    // DELETE takes an empty folder too.
    if (!status.isFile) throw notAFile(path)
    const doing = `remove ${path}`
    const isRemoved = valueOf(await this.#nameNodes.delete(absolute, doing), doing)
    if (isRemoved || (await this.#status(absolute, path)) === null) return
    throw new UnavailableError(`Cannot ${doing}: HDFS says that it did not remove it, and it is still there; try again`, { path })
  }

  location(path: string): string {
    return `${this.#location}/${checkLakePath(path)}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#nameNodes[Symbol.dispose]()
  }

  #absolute(path: string): string {
    return `${this.#root}/${checkLakePath(path)}`
  }

  /** Null only where HDFS itself says that there is no such file. */
  async #status(absolute: string, path: string): Promise<Status | null> {
    const doing = `look up ${path}`
    const outcome = await this.#nameNodes.ask({ method: 'GET', op: 'GETFILESTATUS', path: absolute, doing }, (json) => statusOf(propertyOf(json, 'FileStatus')))
    return foundOf(outcome, doing)
  }

  async #makeFolder(folder: string, path: string): Promise<void> {
    const doing = `make the folder of ${path}`
    if (valueOf(await this.#nameNodes.makeFolder(folder, folderPermission, doing), doing)) return
    const status = await this.#status(folder, path)
    if (status !== null && !status.isFile) return
    throw new UnavailableError(`Cannot ${doing}: HDFS says that it did not, and ${status === null ? 'it is not there' : 'a file stands in its place: move it away'}`, { path, folder })
  }

  /** Connects to a DataNode, and to another where one does not take the connection. */
  async #beginUpload(temporary: string, path: string): Promise<Upload> {
    const doing = `write ${path}`
    const params = { overwrite: 'false', createparent: 'false', permission: filePermission, blocksize: String(this.#blockBytes) }
    return this.#withDataNodes({ method: 'PUT', op: 'CREATE', path: temporary, params, doing }, async (located) => {
      if ('direct' in located) throw new UnavailableError(`Cannot ${doing}: HDFS names no DataNode to write to`, { path })
      return this.#dataNodes.beginUpload(located.url, doing)
    })
  }

  /** What the NameNode knows of the file against what was sent. */
  async #checkWritten(temporary: string, path: string, bytes: number, own: ChecksumOfFile): Promise<{ status: Status; isProven: boolean }> {
    const [status, blocks] = await Promise.all([this.#status(temporary, path), this.#blocks(temporary, path)])
    if (status === null || !status.isFile) throw unfinished(path, 'is not there')
    if (status.bytes !== bytes) throw unfinished(path, `has ${status.bytes} bytes of the ${bytes} that were sent`)
    if (blocks?.isOpen === true) throw unfinished(path, 'was not closed')
    return { status, isProven: bytes > 0 && (await this.#compareChecksum(temporary, path, own)) }
  }

  /** False where the server's checksum is of another kind. Throws CorruptError where it differs. */
  async #compareChecksum(temporary: string, path: string, own: ChecksumOfFile): Promise<boolean> {
    const doing = `check ${path}`
    const checksum = await this.#withDataNodes({ method: 'GET', op: 'GETFILECHECKSUM', path: temporary, params: {}, doing }, (located) => this.#dataNodes.checksum(located, doing))
    const compared = compareChecksums(own.finish(), checksum)
    if (compared !== 'different') return compared === 'same'
    throw new CorruptError(`${path} has other bytes on HDFS than were sent: check the memory and the network of this machine and of the DataNodes`, { path, algorithm: checksum.algorithm })
  }

  /** Null where the server does not tell (HttpFS of older releases). */
  async #blocks(absolute: string, path: string): Promise<{ isOpen: boolean; isCorrupt: boolean } | null> {
    const outcome = await this.#nameNodes.ask({ method: 'GET', op: 'GET_BLOCK_LOCATIONS', path: absolute, doing: `look up the blocks of ${path}` }, (json) => {
      const located = propertyOf(json, 'LocatedBlocks')
      const isOpen = propertyOf(located, 'isUnderConstruction')
      const blocks = propertyOf(located, 'locatedBlocks')
      if (typeof isOpen !== 'boolean' || !Array.isArray(blocks)) return undefined
      return { isOpen, isCorrupt: blocks.some((block) => propertyOf(block, 'isCorrupt') === true) }
    })
    return 'value' in outcome ? outcome.value : null
  }

  /**
   * Gives `source` the name `target`. After every try, whatever its answer, both names are looked at: it may have been done though the answer was lost, or
   * by a try before. `moved` is the file's status before; resolves to the one after.
   */
  async #rename(source: string, target: string, from: string, to: string, moved: Status): Promise<Status> {
    const doing = `give ${from} the name ${to}`
    for (let round = 0; ; round++) {
      // NONE asks for the rename that refuses whatever stands there. The older one, without options, moves the file into a folder of that name.
      const question = { method: 'PUT', op: 'RENAME', path: source, params: { destination: target, renameoptions: 'NONE' }, doing } as const
      const outcome = await this.#nameNodes.ask<true>(question, () => true, 1).catch((error: unknown) => asUnavailable(error))
      const [before, after] = await Promise.all([this.#status(source, from), this.#status(target, to)])
      if (before === null && after !== null && isSameFile(moved, after)) return after
      if (after !== null) throw conflict(to)
      if (before === null) throw new CorruptError(`${from} vanished from the lake while it was renamed: another program removes files there`, { from, to })
      const failure = outcome instanceof TidemarkError ? outcome : failureOf(outcome, doing)
      if (!(failure instanceof UnavailableError) || round + 1 >= this.#limits.roundsMax) throw failure
      await backOff(round, this.#limits)
    }
  }

  async #read(absolute: string, path: string, bytes: number, from: number, to: number): Promise<Uint8Array> {
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to < from || to > bytes) {
      throw new InvalidRequestError(`${path} has ${bytes} bytes: it cannot be read from ${from} to ${to}`, { path, from, to, bytes })
    }
    if (from === to) return new Uint8Array(0)
    const doing = `read ${path}`
    const params = { offset: String(from), length: String(to - from) }
    try {
      return await this.#withDataNodes({ method: 'GET', op: 'OPEN', path: absolute, params, doing }, async (located) => {
        if ('direct' in located) throw new UnavailableError(`Cannot ${doing}: HDFS names no DataNode to read from`, { path })
        return this.#dataNodes.download(located.url, to - from, doing)
      })
    } catch (error) {
      if (error instanceof UnavailableError) await this.#explain(absolute, path, bytes)
      throw error
    }
  }

  /** Throws CorruptError where the file itself is the reason why it cannot be read. */
  async #explain(absolute: string, path: string, bytes: number): Promise<void> {
    const status = await this.#status(absolute, path)
    if (status === null) throw missing(path)
    if (!status.isFile) throw notAFile(path)
    if (status.bytes !== bytes) throw new CorruptError(`${path} has ${status.bytes} bytes and should have ${bytes}: the file was changed`, { path, bytes })
    const blocks = await this.#blocks(absolute, path)
    if (blocks?.isCorrupt === true) throw new CorruptError(`Every copy of a block of ${path} on HDFS is damaged (see "hdfs fsck"): put the file back`, { path })
  }

  /** Asks a NameNode for a DataNode and works with it; with another, as long as one fails and rounds are left. */
  async #withDataNodes<T>(location: Location, work: (located: Located) => Promise<T>): Promise<T> {
    const excluded = new Set<string>()
    for (let round = 0; ; round++) {
      const outcome = await this.#dataNodes.locate(location, excluded)
      // With all of them left out there is none: then the first may be tried again.
      const isNoneLeft = 'refusal' in outcome && excluded.size > 0
      try {
        if (!isNoneLeft) return await work(valueOf(outcome, location.doing))
      } catch (error) {
        if (!(error instanceof UnavailableError) || 'refusal' in outcome || round + 1 >= this.#limits.roundsMax) throw error
        if ('url' in outcome.value) excluded.add(authorityOf(outcome.value.url))
      }
      if (isNoneLeft) excluded.clear()
      await backOff(round, this.#limits)
    }
  }

  async *#listFolder(folder: string): AsyncGenerator<LakeEntry> {
    // A folder's files sort by its name and `/`: after those of `a-b`, which HDFS gives later, and before `a0`.
    const waiting: string[] = []
    for await (const status of this.#children(folder)) {
      const path = folder === '' ? status.name : `${folder}/${status.name}`
      // A name that the port's rule forbids was put there by somebody else; no call of the port could touch it.
      if (status.name === '' || !isLakePath(path)) continue
      while (waiting.length > 0 && `${waiting[0]!}/` < path) yield* this.#listFolder(waiting.shift()!)
      if (status.isFile) yield { path, bytes: status.bytes, modifiedMs: status.modifiedMs }
      else {
        waiting.push(path)
        waiting.sort((a, b) => (`${a}/` < `${b}/` ? -1 : 1))
      }
    }
    for (const child of waiting) yield* this.#listFolder(child)
  }

  /** A folder's children by the bytes of their names, a page at a time. */
  async *#children(folder: string): AsyncGenerator<Status> {
    const doing = `list ${folder === '' ? 'the lake' : folder}`
    const absolute = folder === '' ? this.#root : this.#absolute(folder)
    let startAfter = ''
    for (;;) {
      // Written `startAfter`, as its documentation has it, the parameter is ignored: the NameNode (3.5.0) looks for it in lower case.
      const params = startAfter === '' ? {} : { startafter: startAfter }
      const outcome = await this.#nameNodes.ask({ method: 'GET', op: 'LISTSTATUS_BATCH', path: absolute, params, doing }, pageOf)
      const page = foundOf(outcome, doing)
      if (page === null) return
      yield* page.statuses
      if (page.remaining === 0) return
      const last = page.statuses.at(-1)?.name ?? ''
      if (last === '' || last === startAfter) throw new UnavailableError(`Cannot ${doing}: HDFS says that there is more and does not give it`, { folder })
      startAfter = last
    }
  }

  /** What cannot be removed is left to the sweeping of orphans. */
  async #removeQuietly(temporary: string, upload: Upload | null): Promise<void> {
    try {
      for (let round = 0; round < settleRounds; round++) {
        const outcome = await this.#nameNodes.delete(temporary, 'remove an unfinished file', 1)
        if (('value' in outcome && outcome.value) || upload === null || upload.isAnswered) return
        await backOff(round, this.#limits)
      }
    } catch {
      // The failure that led here is the one to tell.
    }
  }
}

function statusOf(json: unknown): Status | undefined {
  const type = propertyOf(json, 'type')
  const bytes = propertyOf(json, 'length')
  const modifiedMs = propertyOf(json, 'modificationTime')
  const name = propertyOf(json, 'pathSuffix')
  const fileId = propertyOf(json, 'fileId')
  if (typeof type !== 'string' || !isCount(bytes) || !isCount(modifiedMs) || typeof name !== 'string') return undefined
  return { name, isFile: type === 'FILE', bytes, modifiedMs, fileId: isCount(fileId) && fileId > 0 ? fileId : null }
}

function pageOf(json: unknown): { statuses: Status[]; remaining: number } | undefined {
  const listing = propertyOf(json, 'DirectoryListing')
  const remaining = propertyOf(listing, 'remainingEntries')
  const entries = propertyOf(propertyOf(propertyOf(listing, 'partialListing'), 'FileStatuses'), 'FileStatus')
  if (!isCount(remaining) || !Array.isArray(entries)) return undefined
  const statuses = entries.map(statusOf)
  return statuses.every((status) => status !== undefined) ? { statuses, remaining } : undefined
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isSameFile(one: Status, other: Status): boolean {
  if (one.fileId !== null && other.fileId !== null) return one.fileId === other.fileId
  return other.isFile && one.bytes === other.bytes
}

/** The value, or null where HDFS says that there is no such file. */
function foundOf<T>(outcome: Outcome<T>, doing: string): T | null {
  if ('refusal' in outcome && isException(outcome.refusal, 'FileNotFoundException')) return null
  return valueOf(outcome, doing)
}

function failureOf(outcome: Outcome<true>, doing: string): TidemarkError {
  if ('refusal' in outcome) return translateRefusal(doing, outcome.host, outcome.refusal)
  return new UnavailableError(`Cannot ${doing}: HDFS answered and did not do it; try again`, {})
}

function asUnavailable(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  throw error
}

function unfinished(path: string, what: string): UnavailableError {
  return new UnavailableError(`${path} ${what} on HDFS, though a DataNode confirmed it: nothing was kept; see the DataNodes' logs and try again`, { path })
}

function conflict(path: string): ConflictError {
  return new ConflictError(`${path} exists in the lake already: files are never replaced, write under a new name`, { path })
}

function missing(path: string): CorruptError {
  return new CorruptError(`${path} is missing from the lake: restore the file from a backup of the lake`, { path })
}

function notAFile(path: string): CorruptError {
  return new CorruptError(`${path} of the lake is no file: something else was put in its place`, { path })
}
