/** A report's file as it lies in the lake: read whole and held against what was registered, so that no other bytes are ever served. */
import { createHash } from 'node:crypto'
import { CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import type { ReportFile, ReportFormat } from '#store/reports.ts'
import { reportFileBytesMax } from './limits.ts'

const readBytes = 4 * 1024 * 1024

export const contentTypes: Readonly<Record<ReportFormat, string>> = {
  html: 'text/html; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
  json: 'application/json; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
  restatement: 'text/csv; charset=utf-8',
}

const extensions: Readonly<Record<ReportFormat, string>> = { html: 'html', csv: 'csv', json: 'json', parquet: 'parquet', restatement: 'restatement.csv' }

/** A page that runs nothing, loads nothing and is framed by nobody; its styles stand in it. */
export const reportPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

/** The page is shown, the rest is saved. A season's name may be of any script. */
export function dispositionOf({ kind, period, version, format }: ReportFile): string {
  const name = `tidemark-${kind}-${period}-v${version}.${extensions[format]}`
  const plain = name.replaceAll(/[^A-Za-z0-9._-]/g, '_')
  // oxlint-disable-next-line unicorn/prefer-string-replace-all -- what RFC 5987 wants escaped beyond encodeURIComponent
  const exact = encodeURIComponent(name).replace(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
  return `${format === 'html' ? 'inline' : 'attachment'}; filename="${plain}"; filename*=UTF-8''${exact}`
}

/** Throws CorruptError where the lake holds other bytes than were registered, or none. */
export async function readReportFile(lake: Lake, file: ReportFile): Promise<Buffer> {
  const { path, bytes, sha256 } = file
  if (bytes > reportFileBytesMax) {
    throw new InvalidRequestError(`The file has ${bytes} bytes, and at most ${reportFileBytesMax} are sent from here: "tidemark report export" writes it.`, { bytes, bytesMax: reportFileBytesMax })
  }
  const found = await lake.get(path).catch(translateLake)
  if (found.bytes !== bytes) throw differs(path, { bytesFound: found.bytes, bytes })
  const whole = Buffer.alloc(bytes)
  for (let from = 0; from < bytes; from += readBytes) {
    const to = Math.min(from + readBytes, bytes)
    const part = await found.read(from, to).catch(translateLake)
    if (part.length !== to - from) throw differs(path, { bytesFound: from + part.length, bytes })
    whole.set(part, from)
  }
  if (createHash('sha256').update(whole).digest('hex') !== sha256) throw differs(path, { sha256 })
  return whole
}

function differs(path: string, details: Readonly<Record<string, unknown>>): CorruptError {
  return new CorruptError(`The lake holds other bytes of ${path} than were frozen, so they are not served. The figures stand in the database too: ask for the report itself; put the file back from a backup.`, { path, ...details })
}

/** The caller hears of the lake, and nothing of its driver. */
function translateLake(thrown: unknown): never {
  if (thrown instanceof UnavailableError) throw new UnavailableError('The lake, where files of reports lie, does not answer now. The reports themselves are answered without it.')
  throw thrown
}
