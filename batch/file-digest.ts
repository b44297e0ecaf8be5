/** The bytes of a file of the lake against those that were written, and against the checksum that the register keeps. */
import { createHash } from 'node:crypto'
import { CorruptError } from '#core/errors.ts'
import type { Lake, LakeEntry, LakeFile, LakeVerify } from '#core/ports.ts'
import type { ArchiveFile } from '#store/register.ts'

const readBytes = 4 * 1024 * 1024

export type WrittenFile = Pick<LakeEntry, 'path' | 'bytes'> & { readonly sha256: string }

/**
 * Puts a file that holds exactly the bytes of `body`, which are compared by number and checksum before it has its name; `check` looks at what they mean, and
 * throws to refuse. Throws CorruptError, ConflictError where the path exists.
 */
export async function putVerified(lake: Lake, path: string, body: AsyncIterable<Uint8Array>, check: LakeVerify = async () => undefined): Promise<WrittenFile> {
  const digest = createHash('sha256')
  let bytes = 0
  let sha256 = ''
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      digest.update(chunk)
      bytes += chunk.length
      yield chunk
    }
    sha256 = digest.digest('hex')
  }
  const verify: LakeVerify = async (file) => {
    if (file.bytes !== bytes) throw new CorruptError(`${path} has ${file.bytes} bytes where ${bytes} were written.`, { path })
    if (file.isProven !== true && (await sha256Of(file)) !== sha256) throw new CorruptError(`${path} holds other bytes than were written: check the disk and the memory of this machine.`, { path })
    await check(file)
  }
  const entry = await lake.put(path, counted(), verify)
  if (entry.bytes !== bytes) throw new CorruptError(`${path} was verified with ${bytes} bytes and has ${entry.bytes} now: another program writes into the lake.`, { path })
  return { path, bytes, sha256 }
}

/** Of what the lake holds, in hexadecimal. */
export async function sha256Of(file: LakeFile): Promise<string> {
  const digest = createHash('sha256')
  const read = (from: number): Promise<Uint8Array> | null => (from < file.bytes ? file.read(from, Math.min(from + readBytes, file.bytes)) : null)
  // The next piece is read while this one is digested.
  let next = read(0)
  for (let from = readBytes; next !== null; from += readBytes) {
    const piece = await next
    next = read(from)
    digest.update(piece)
  }
  return digest.digest('hex')
}

/**
 * Throws CorruptError naming the first of these files that is not what was registered. Reads them whole, so it is asked only once something went wrong: a
 * query engine says of a damaged file whatever it stumbled over, and seldom which file it was.
 */
export async function checkDigests(lake: Lake, files: readonly ArchiveFile[], cause: unknown): Promise<void> {
  for (const { path, rows, sha256 } of files) {
    if (rows === 0 || (await sha256Of(await lake.get(path))) === sha256) continue
    throw new CorruptError(`The registered file ${path} holds other bytes than were registered. Put it back, or write it again from the log with "tidemark batch repair".`, { path }, cause)
  }
}

/** Whether the lake holds the registered file with its registered bytes. */
export async function isWhole(lake: Lake, file: ArchiveFile): Promise<boolean> {
  const entry = await lake.stat(file.path)
  return entry !== null && entry.bytes === file.bytes && (await sha256Of(await lake.get(file.path))) === file.sha256
}
