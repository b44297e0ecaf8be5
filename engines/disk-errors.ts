/** What the operating system's errors about a local disk mean to the caller. */
import { ConfigError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

const fixes: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free space',
  EDQUOT: "this user's disk quota is used up: free space or raise it",
  EACCES: 'permission denied: let this user read and write there',
  EPERM: 'not permitted: let this user read and write there, on a file system with hard links',
  EROFS: 'the file system is read-only: mount it writable',
  EIO: 'the disk reports an error: check it before anything else',
  EMFILE: 'too many open files: raise the limit (ulimit -n)',
  ENFILE: 'too many open files on this machine: raise the limit',
  EEXIST: 'a file stands where a folder should be: move it away',
  ENOTDIR: 'a file stands where a folder should be: move it away',
  ENOENT: 'a folder or file vanished meanwhile: keep other programs out of the lake',
}

/** Codes of a file system without hard links. Nothing but another folder helps. */
const unsupportedCodes: ReadonlySet<string> = new Set(['ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EXDEV'])

export function hasErrorCode(error: unknown, code: string): boolean {
  return errorCodeOf(error) === code
}

/** UnavailableError with the fix, ConfigError where the file system cannot serve; errors that are translated already stay as they are. */
export function translateDiskError(doing: string, path: string, root: string, error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  const code = errorCodeOf(error)
  const details = { path, root, code }
  if (code !== undefined && unsupportedCodes.has(code)) {
    return new ConfigError(`Cannot ${doing} ${path}: the file system of ${root} has no hard links (${code}); choose a folder on another one`, details, error)
  }
  const fix = code === undefined ? messageOf(error) : `${fixes[code] ?? messageOf(error)} (${code})`
  return new UnavailableError(`Cannot ${doing} ${path} in the lake ${root}: ${fix}`, details, error)
}

function errorCodeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
