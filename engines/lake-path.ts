/**
 * The port's rule for paths of the lake, which keeps every name safe in SQL, in URLs and on every file system: segments of
 * `[A-Za-z0-9._=+-]` divided by `/`, never `.` or `..`.
 */
import { InvalidRequestError } from '#core/errors.ts'

/** File systems take names of up to 255 bytes; HDFS takes paths of up to 8,000 characters, some tools 1,024. */
const segmentLengthMax = 255
const pathLengthMax = 1024

const segmentPattern = /^[A-Za-z0-9._=+-]+$/

export function isLakePath(path: string): boolean {
  return path.length <= pathLengthMax && path.split('/').every(isSegment)
}

/** The path itself. Throws InvalidRequestError where it breaks the rule. */
export function checkLakePath(path: string): string {
  if (isLakePath(path)) return path
  throw new InvalidRequestError(
    `"${path}" is no path of the lake: use segments of A-Z a-z 0-9 . _ = + - divided by "/", relative to the lake's root and never "." or ".."`,
    { path },
  )
}

function isSegment(segment: string): boolean {
  return segment.length <= segmentLengthMax && segmentPattern.test(segment) && segment !== '.' && segment !== '..'
}
