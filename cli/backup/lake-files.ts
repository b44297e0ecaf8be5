/** Files between a backup and the lake: each is read whole, once, and compared with the checksum that the register keeps. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { orphanFolder } from '#batch/orphans.ts'
import { CorruptError } from '#core/errors.ts'
import type { Lake, LakeFile } from '#core/ports.ts'
import type { RegisteredFile } from '#store/registered-files.ts'
import { damaged } from './manifest.ts'

const chunkBytes = 4 * 1024 * 1024

/** A registered file, where it is: under its name, or moved aside for an orphan, from where the next batch takes it back. Null where it is gone. */
export async function findRegistered(lake: Lake, { path, bytes }: RegisteredFile): Promise<LakeFile | null> {
  for (const place of [path, orphanFolder + path]) {
    if ((await lake.stat(place))?.bytes === bytes) return lake.get(place)
  }
  return null
}

/** The file's bytes in pieces. Throws CorruptError at the end where they are not the registered ones. */
export async function* checkedBytes(file: LakeFile, { path, sha256 }: RegisteredFile): AsyncGenerator<Uint8Array> {
  const digest = createHash('sha256')
  for (let from = 0; from < file.bytes; from += chunkBytes) {
    const piece = await file.read(from, Math.min(from + chunkBytes, file.bytes))
    digest.update(piece)
    yield piece
  }
  if (digest.digest('hex') !== sha256) {
    throw new CorruptError(`The registered file ${path} holds other bytes than were registered. Put it back, or write it again from the log with "tidemark batch repair".`, { path })
  }
}

export type LakeFaults = {
  readonly checked: number
  /** Registered, and not in the lake. */
  readonly missing: readonly string[]
  /** There, with other bytes than were registered. */
  readonly damaged: readonly string[]
}

/** Compares each registered file with the lake: its length, and with `deep` its checksum. */
export async function compareWithLake(lake: Lake, files: readonly RegisteredFile[], options: { readonly deep: boolean; readonly signal: AbortSignal; readonly onFile: (done: number) => void }): Promise<LakeFaults> {
  const missing: string[] = []
  const wrong: string[] = []
  for (const [done, file] of files.entries()) {
    options.signal.throwIfAborted()
    options.onFile(done)
    const found = await findRegistered(lake, file)
    if (found === null) ((await lake.stat(file.path)) === null ? missing : wrong).push(file.path)
    else if (options.deep && !(await isRegistered(found, file))) wrong.push(file.path)
  }
  return { checked: files.length, missing, damaged: wrong }
}

async function isRegistered(found: LakeFile, file: RegisteredFile): Promise<boolean> {
  try {
    for await (const _piece of checkedBytes(found, file)) continue
    return true
  } catch (thrown) {
    if (thrown instanceof CorruptError) return false
    throw thrown
  }
}

/** Throws CorruptError naming the file of the backup that is missing, cut short or changed. */
export async function checkFile(file: string, bytes: number, sha256: string, signal: AbortSignal): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (found === null) throw damaged(file, 'it is not there')
  if (found.size !== bytes) throw damaged(file, `it has ${found.size} bytes where ${bytes} were written`)
  const digest = createHash('sha256')
  for await (const piece of createReadStream(file, { highWaterMark: chunkBytes, signal })) digest.update(piece as Buffer)
  if (digest.digest('hex') !== sha256) throw damaged(file, 'its bytes are others than were written')
}
