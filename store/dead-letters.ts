/**
 * The dead letters: what could not be accepted, with reason, position and bytes. A person may send one again, edited or not; its position in the log names
 * it for good, its number only until a batch settles it otherwise.
 */
import type { DeadLetterReason } from '#core/events.ts'
import { visibleText } from '#core/visible-text.ts'
import { InvalidRequestError } from '#core/errors.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type LetterPosition = { readonly topic: string; readonly partition: number; readonly offset: number; readonly index: number }

/** Where an import read the line: `line` counts from 1. */
export type ImportedLine = { readonly importName: string; readonly file: string; readonly line: number }

export type Letter = LetterPosition & {
  readonly id: number
  readonly epoch: number
  readonly reason: DeadLetterReason
  readonly detail: string
  readonly logTime: string
  /** For a conflict: where the copy stands that counts. */
  readonly first: { readonly partition: number; readonly offset: number } | null
  readonly foundBy: 'speed' | 'batch'
  readonly headers: Readonly<Record<string, string>> | null
  /** Length of the whole record. */
  readonly bytes: number
  /** The record's first bytes as visible text: in a list 200 of them, in `readLetter` all. */
  readonly text: string
  readonly imported: ImportedLine | null
  /** `appendedAt` null: it is not known whether the log has it. */
  readonly resubmitted: { readonly times: number; readonly appendedAt: string | null } | null
}

export type LetterFilter = {
  readonly reason?: string
  readonly topic?: string
  /** The last id of the page before. */
  readonly after?: number
  readonly limit: number
}

export type LetterCount = { readonly topic: string; readonly reason: DeadLetterReason; readonly letters: number }

/** Ends the detail of a letter whose bytes and headers are gone with the person they named. */
export const bytesErased = ' (bytes erased)'

const listedBytes = 200
export const lettersPerPageMax = 1_000

type LetterRow = {
  id: bigint
  topic: string
  partition: number
  log_offset: bigint
  record_index: number
  epoch: bigint
  reason: DeadLetterReason
  detail: string
  log_time_ms: bigint
  first_partition: number | null
  first_offset: bigint | null
  found_by: 'speed' | 'batch'
  headers: string | null
  size: number
  head: Buffer
  import_name: string | null
  import_file: { name: string; fromOffset: number } | null
  times: number
  appended_at: string | null
}

/** `$1`: how many bytes of each record. The bytes of a record stand with the first of its letters. */
const selectLetters = /* sql */ `
  SELECT d.id, d.topic, d.partition, d.log_offset, d.record_index, d.epoch, d.reason, d.detail, d.log_time_ms, d.first_partition, d.first_offset, d.found_by, d.headers,
    octet_length(b.bytes) AS size, substring(b.bytes FROM 1 FOR $1::int) AS head, i.name AS import_name, f.file AS import_file, r.times, r.appended_at
  FROM dead_letters d
  CROSS JOIN LATERAL (
    SELECT o.bytes FROM dead_letters o WHERE o.topic = d.topic AND o.partition = d.partition AND o.log_offset = d.log_offset AND (o.record_index = d.record_index OR octet_length(d.bytes) = 0)
    ORDER BY octet_length(o.bytes) > 0 DESC, o.record_index LIMIT 1
  ) b
  CROSS JOIN LATERAL (
    SELECT count(*)::int AS times, to_char(max(s.appended_at), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS appended_at FROM resubmitted_letters s
    WHERE s.topic = d.topic AND s.partition = d.partition AND s.log_offset = d.log_offset AND s.record_index = d.record_index
  ) r
  LEFT JOIN imports i ON i.topic = d.topic AND i.partition = d.partition
  LEFT JOIN LATERAL (
    SELECT one AS file FROM jsonb_array_elements(i.files) one WHERE (one->>'fromOffset')::bigint <= d.log_offset AND d.log_offset < (one->>'toOffset')::bigint LIMIT 1
  ) f ON true`

/** Newest first. */
export async function listLetters(queryable: Queryable, { reason, topic, after, limit }: LetterFilter): Promise<Letter[]> {
  const rows = await run<LetterRow>(
    queryable,
    `${selectLetters} WHERE ($2::text IS NULL OR d.reason = $2) AND ($3::text IS NULL OR d.topic = $3) AND ($4::bigint IS NULL OR d.id < $4) ORDER BY d.id DESC LIMIT $5`,
    [listedBytes, reason ?? null, topic ?? null, after ?? null, Math.min(limit, lettersPerPageMax)],
  )
  return rows.map(letterOf)
}

export async function countLetters(queryable: Queryable, topic?: string): Promise<LetterCount[]> {
  const rows = await run<{ topic: string; reason: DeadLetterReason; letters: bigint }>(
    queryable,
    'SELECT topic, reason, count(*) AS letters FROM dead_letters WHERE $1::text IS NULL OR topic = $1 GROUP BY topic, reason ORDER BY topic, count(*) DESC, reason',
    [topic ?? null],
  )
  return rows.map((row) => ({ topic: row.topic, reason: row.reason, letters: Number(row.letters) }))
}

/** A letter with the whole of its record, by its number or by its position. Throws InvalidRequestError where there is none. */
export async function readLetter(queryable: Queryable, letter: number | LetterPosition): Promise<Letter & { readonly value: Buffer }> {
  const [condition, values, says] =
    typeof letter === 'number'
      ? ['d.id = $2', [letter], String(letter)]
      : ['d.topic = $2 AND d.partition = $3 AND d.log_offset = $4 AND d.record_index = $5', [letter.topic, letter.partition, letter.offset, letter.index], letterName(letter)]
  const [row] = await run<LetterRow>(queryable, `${selectLetters} WHERE ${condition}`, [2_147_483_647, ...values])
  if (row === undefined) throw new InvalidRequestError(`There is no dead letter ${says}: "tidemark dead-letters list" shows those there are.`)
  return { ...letterOf(row), value: row.head }
}

function letterOf(row: LetterRow): Letter {
  const { import_file: file } = row
  return {
    id: Number(row.id),
    topic: row.topic,
    partition: row.partition,
    offset: Number(row.log_offset),
    index: row.record_index,
    epoch: Number(row.epoch),
    reason: row.reason,
    detail: row.detail,
    logTime: new Date(Number(row.log_time_ms)).toISOString(),
    first: row.first_partition === null || row.first_offset === null ? null : { partition: row.first_partition, offset: Number(row.first_offset) },
    foundBy: row.found_by,
    headers: row.headers === null ? null : (JSON.parse(row.headers) as Record<string, string>),
    bytes: row.size,
    text: visibleText(row.head),
    imported: row.import_name === null || file === null ? null : { importName: row.import_name, file: file.name, line: Number(row.log_offset) - file.fromOffset + 1 },
    resubmitted: row.times === 0 ? null : { times: row.times, appendedAt: row.appended_at },
  }
}

/** `transactions/0/123/0` */
export function letterName({ topic, partition, offset, index }: LetterPosition): string {
  return `${topic}/${partition}/${offset}/${index}`
}

const letterPattern = /^(?<topic>[A-Za-z0-9._-]+)\/(?<partition>\d{1,5})\/(?<offset>\d{1,16})\/(?<index>\d{1,4})$/

/** A letter's number, or its position as `letterName` gives it. Throws InvalidRequestError for any other text. */
export function parseLetter(text: string): number | LetterPosition {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  const named = letterPattern.exec(text)?.groups
  if (named === undefined) throw new InvalidRequestError(`${text} names no dead letter: its number is expected, or topic/partition/offset/index.`, { parameter: 'id' })
  return { topic: named['topic']!, partition: Number(named['partition']), offset: Number(named['offset']), index: Number(named['index']) }
}

/**
 * Says before it is appended that this content of a letter is sent again. Resolves to when the log took it, where that is known already: then there is
 * nothing to do.
 */
export async function beginResubmission(queryable: Queryable, letter: LetterPosition, valueSha256: string): Promise<string | null> {
  const values = [letter.topic, letter.partition, letter.offset, letter.index, valueSha256]
  const [row] = await run<{ appended_at: string | null }>(
    queryable,
    /* sql */ `
    INSERT INTO resubmitted_letters AS r (topic, partition, log_offset, record_index, value_sha256) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (topic, partition, log_offset, record_index, value_sha256) DO UPDATE SET began_at = r.began_at
    RETURNING to_char(appended_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS appended_at`,
    values,
  )
  return row!.appended_at
}

export async function endResubmission(queryable: Queryable, letter: LetterPosition, valueSha256: string): Promise<void> {
  await run(
    queryable,
    'UPDATE resubmitted_letters SET appended_at = clock_timestamp() WHERE topic = $1 AND partition = $2 AND log_offset = $3 AND record_index = $4 AND value_sha256 = $5',
    [letter.topic, letter.partition, letter.offset, letter.index, valueSha256],
  )
}
