/**
 * The archive decoded again from its original bytes, file by file, beside everything that runs. Where any decoded column comes out otherwise than it stands, a
 * file of the same range is written, and waits for the publication that puts it in the old one's place; a file that comes out the same stays. Records whose
 * bytes were erased are worked out from their columns.
 */
import type { Decoder } from '#core/decode.ts'
import { CorruptError } from '#core/errors.ts'
import { formatDay } from '#core/calendar.ts'
import type { Lake, ParquetCodec, ParquetType, ParquetValues, QueryEngine } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { addPendingFile } from '#store/pending-files.ts'
import type { ArchiveFile } from '#store/register.ts'
import type { ArchiveRow } from './archive-columns.ts'
import { ArchiveRows, ArchiveSums, addRow, archiveColumns, archiveRowsOf, columnAt } from './archive-columns.ts'
import { rowGroupBytes, rowGroupRows, writeArchiveFile } from './archive.ts'
import { checkDigests } from './file-digest.ts'
import { standInFor } from './erased-record.ts'
import type { RecordRows } from './file-rows.ts'
import { logRecordOf, readFileRecords } from './file-rows.ts'
import { checkFiles } from './recompute.ts'

export type RedecodeOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly codec: ParquetCodec
  readonly engine: QueryEngine
  readonly decoder: Decoder
  readonly signal: AbortSignal
  readonly onFile?: (done: number, of: number) => void
}

/** An event or a record that decodes otherwise than it did. */
export type RedecodedEvent = {
  readonly partition: number
  readonly offset: number
  readonly index: number
  readonly what: 'changed' | 'refused anew' | 'accepted anew'
  readonly eventId: string | null
  /** Why it is, or was, refused. */
  readonly reason: string | null
  /** The columns that differ, as they were and as they are. */
  readonly was: Readonly<Record<string, unknown>>
  readonly is: Readonly<Record<string, unknown>>
}

export type Redecoded = {
  readonly files: number
  readonly filesChanged: number
  readonly records: number
  readonly erasedRecords: number
  readonly changed: number
  readonly refusedAnew: number
  readonly acceptedAnew: number
  /** The first of them. */
  readonly listed: readonly RedecodedEvent[]
}

export const nothingRedecoded: Redecoded = { files: 0, filesChanged: 0, records: 0, erasedRecords: 0, changed: 0, refusedAnew: 0, acceptedAnew: 0, listed: [] }

const listedMax = 100

export function addRedecoded(a: Redecoded, b: Redecoded): Redecoded {
  return {
    files: a.files + b.files,
    filesChanged: a.filesChanged + b.filesChanged,
    records: a.records + b.records,
    erasedRecords: a.erasedRecords + b.erasedRecords,
    changed: a.changed + b.changed,
    refusedAnew: a.refusedAnew + b.refusedAnew,
    acceptedAnew: a.acceptedAnew + b.acceptedAnew,
    listed: [...a.listed, ...b.listed].slice(0, listedMax),
  }
}

/**
 * Resolves to the files as they will be read, new ones in the place of those that changed, and to what changed. Every row of every file was read and held
 * against the register; throws CorruptError naming the file where the lake holds another.
 */
export async function redecodeFiles(options: RedecodeOptions, batch: number, files: readonly ArchiveFile[]): Promise<{ files: ArchiveFile[]; redecoded: Redecoded }> {
  await checkFiles(options.lake, files)
  const result: ArchiveFile[] = []
  let redecoded = nothingRedecoded
  for (const file of files) {
    options.signal.throwIfAborted()
    options.onFile?.(result.length, files.length)
    if (file.rows === 0) {
      result.push(file)
      continue
    }
    const done = await redecodeFile(options, batch, file).catch(async (thrown: unknown) => {
      options.signal.throwIfAborted()
      await checkDigests(options.lake, [file], thrown)
      throw thrown
    })
    result.push(done.file)
    redecoded = addRedecoded(redecoded, done.redecoded)
  }
  return { files: result, redecoded }
}

async function redecodeFile(options: RedecodeOptions, batch: number, file: ArchiveFile): Promise<{ file: ArchiveFile; redecoded: Redecoded }> {
  const tally = new Tally()
  if (!(await differs(options, file, tally))) return { file, redecoded: tally.redecoded(0) }
  const all = new Tally()
  const sums = new ArchiveSums()
  const rewritten = await writeArchiveFile(options, file, sums, rowGroups(options, file, sums, all))
  await addPendingFile(options.database.pool, batch, { replaces: file.path, file: rewritten })
  return { file: rewritten, redecoded: all.redecoded(1) }
}

/** Reads until the first difference; where there is none, all of it. */
async function differs({ engine, decoder }: RedecodeOptions, file: ArchiveFile, tally: Tally): Promise<boolean> {
  for await (const rows of readFileRecords(engine, file.path)) {
    if (tally.add(rows, redecodeRecord(decoder, file.topic, rows))) return true
  }
  tally.checkAgainst(file)
  return false
}

async function* rowGroups({ engine, decoder, signal }: RedecodeOptions, file: ArchiveFile, sums: ArchiveSums, tally: Tally): AsyncGenerator<readonly ParquetValues[]> {
  let group = new ArchiveRows(file.epoch, file.partition, sums)
  for await (const rows of readFileRecords(engine, file.path)) {
    const decoded = redecodeRecord(decoder, file.topic, rows)
    tally.add(rows, decoded)
    for (const row of decoded) group.push(row)
    if (group.rows < rowGroupRows && group.bytes < rowGroupBytes) continue
    signal.throwIfAborted()
    yield group.columns
    group = new ArchiveRows(file.epoch, file.partition, sums)
  }
  tally.checkAgainst(file)
  if (group.rows > 0) yield group.columns
}

const at = {
  epoch: columnAt('epoch'),
  partition: columnAt('log_partition'),
  offset: columnAt('log_offset'),
  index: columnAt('record_index'),
  logTime: columnAt('log_time'),
  reason: columnAt('reason'),
  eventId: columnAt('event_id'),
  userId: columnAt('user_id'),
  checksum: columnAt('fields_checksum'),
  headers: columnAt('headers'),
  bytes: columnAt('bytes'),
} as const

/** A record's rows as today's decoder gives them. */
export function redecodeRecord(decoder: Decoder, topic: string, rows: RecordRows): ArchiveRow[] {
  const [first] = rows
  const epoch = first[at.epoch] as number
  const partition = first[at.partition] as number
  const record = logRecordOf(rows)
  if (record !== null) return archiveRowsOf(epoch, partition, record, decoder.decode(record, topic))
  if (first[at.reason] !== null) return [...rows]
  const stand = standInFor(rows)
  const decoded = decoder.decode(stand, topic)
  // Its columns were accepted once. Logic that refuses them now has nothing to go by but them.
  if ('refusal' in decoded || decoded.events.length !== rows.length) return [...rows]
  return archiveRowsOf(epoch, partition, stand, decoded).map((row, i) =>
    row.with(at.userId, rows[i]![at.userId]!).with(at.checksum, rows[i]![at.checksum]!).with(at.headers, null).with(at.bytes, null),
  )
}

/** Columns that decoding gives. */
const decodedColumns = archiveColumns.map((column, i) => ({ name: column.name, i })).filter(({ i }) => i >= at.reason && i !== at.headers && i !== at.bytes)

/** What was read of one file, and how it compares. */
class Tally {
  readonly #sums = new ArchiveSums()
  readonly #listed: RedecodedEvent[] = []
  #records = 0
  #erasedRecords = 0
  #changed = 0
  #refusedAnew = 0
  #acceptedAnew = 0

  /** Whether the record decodes otherwise than it stands. */
  add(stands: RecordRows, decoded: readonly ArchiveRow[]): boolean {
    this.#records++
    if (stands[0][at.bytes] === null) this.#erasedRecords++
    for (const row of stands) addRow(this.#sums, row)
    let differing = false
    for (let i = 0; i < Math.max(stands.length, decoded.length); i++) differing = this.#compare(stands[i], decoded[i]) || differing
    return differing
  }

  #compare(was: ArchiveRow | undefined, is: ArchiveRow | undefined): boolean {
    const differing = decodedColumns.filter(({ i }) => was?.[i] !== is?.[i])
    if (differing.length === 0) return false
    const wasAccepted = was !== undefined && was[at.reason] === null
    const isAccepted = is !== undefined && is[at.reason] === null
    if (isAccepted && !wasAccepted) this.#acceptedAnew++
    else if (wasAccepted && !isAccepted) this.#refusedAnew++
    else this.#changed++
    if (this.#listed.length < listedMax) {
      const row = (is ?? was)!
      this.#listed.push({
        partition: row[at.partition] as number,
        offset: row[at.offset] as number,
        index: row[at.index] as number,
        what: isAccepted === wasAccepted ? 'changed' : isAccepted ? 'accepted anew' : 'refused anew',
        eventId: ((was?.[at.eventId] ?? is?.[at.eventId]) as string | null | undefined) ?? null,
        reason: ((was?.[at.reason] ?? is?.[at.reason]) as string | null | undefined) ?? null,
        ...(isAccepted && wasAccepted ? { was: fieldsOf(was, differing), is: fieldsOf(is, differing) } : { was: {}, is: {} }),
      })
    }
    return true
  }

  /** Throws CorruptError where what was read is not what was registered: then nothing may be made of it. */
  checkAgainst(file: ArchiveFile): void {
    const names = ['rows', 'accepted', 'refused', 'hashHiSum', 'hashLoSum', 'quantitySum', 'totalMinorSum'] as const
    const wrong = names.filter((name) => BigInt(this.#sums[name]) !== BigInt(file[name]))
    if (wrong.length === 0) return
    throw new CorruptError(`Reading ${file.path} gave other ${wrong.join(', ')} than registered. Nothing was published.`, { path: file.path, rows: this.#sums.rows, registered: file.rows })
  }

  redecoded(filesChanged: number): Redecoded {
    const counts = { records: this.#records, erasedRecords: this.#erasedRecords, changed: this.#changed, refusedAnew: this.#refusedAnew, acceptedAnew: this.#acceptedAnew }
    return { files: 1, filesChanged, ...counts, listed: this.#listed }
  }
}

function fieldsOf(row: ArchiveRow, columns: readonly { readonly name: string; readonly i: number }[]): Record<string, unknown> {
  return Object.fromEntries(columns.filter(({ name }) => name !== 'fields_checksum' && name !== 'user_id').map(({ name, i }) => [name, textOfValue(archiveColumns[i]!.type, row[i]!)]))
}

function textOfValue(type: ParquetType, value: ArchiveRow[number]): unknown {
  if (value === null) return null
  return type === 'date' ? formatDay(value as number) : type === 'timestamp' ? new Date(value as number).toISOString() : value
}
