/**
 * A dead letter sent again, as it is or edited: a new record of the log whose header names the letter. What is sent is written down before the log has it,
 * and marked once it has. A crash in between leaves a letter of which nobody knows; sending it again then may put a second copy into the log, which counts
 * once like any copy, since its events bring their ids.
 */
import { createHash } from 'node:crypto'
import type { Decoder } from '#core/decode.ts'
import { isReferenceTopic, referenceId, decodeReference } from '#core/decode-reference.ts'
import { InvalidRequestError } from '#core/errors.ts'
import type { Refusal } from '#core/events.ts'
import type { EventLog, LogHeaders } from '#core/ports.ts'
import type { Database } from './database.ts'
import type { Letter, LetterPosition } from './dead-letters.ts'
import { beginResubmission, bytesErased, endResubmission, letterName, readLetter } from './dead-letters.ts'

/** The record header that names the letter, as `letterName` gives it. */
export const resubmitsHeader = 'tidemark-resubmits'

export type Resubmission = {
  readonly letter: Letter
  /** False where the log took just this content before: nothing was sent. */
  readonly isNew: boolean
  readonly appendedAt: string | null
}

export type ResubmitOptions = {
  readonly database: Database
  readonly log: EventLog
  readonly decoder: Decoder
  readonly nowMs: number
  /** In place of the letter's own bytes. */
  readonly value?: Uint8Array
  /** Where tests may stop it, once the log has the record. */
  readonly afterAppend?: () => Promise<void>
}

/** Throws InvalidRequestError where what would be sent is refused again, is the conflict that it was, or was erased. */
export async function resubmitLetter(options: ResubmitOptions, which: number | LetterPosition): Promise<Resubmission> {
  const { database, log, decoder, nowMs } = options
  const letter = await readLetter(database.pool, which)
  if (letter.bytes === 0 && letter.detail.endsWith(bytesErased)) {
    throw new InvalidRequestError(`The bytes of letter ${letter.id} were erased with the person that they named, its headers too: there is nothing to send again.`, { letter: letter.id })
  }
  const value = options.value ?? letter.value
  const isEdited = !letter.value.equals(value)
  const headers: LogHeaders = { ...letter.headers, [resubmitsHeader]: letterName(letter) }
  const judged = judge(decoder, letter.topic, { value, headers, logTimeMs: nowMs })
  if (judged.refusal !== null) {
    const says = `${judged.refusal.reason} (${judged.refusal.detail})`
    throw new InvalidRequestError(`Letter ${letter.id} would be refused ${isEdited ? 'as it is now' : 'again'}: ${says}. Give its text mended, with --file or --value.`, { reason: judged.refusal.reason })
  }
  if (letter.reason === 'conflict' && !isEdited) {
    throw new InvalidRequestError(`Letter ${letter.id} has the id of an event that counts: sent as it is, it conflicts again. Give its text with another id, with --file or --value.`, { reason: 'conflict' })
  }
  const digest = createHash('sha256').update(value).digest('hex')
  const before = await beginResubmission(database.pool, letter, digest)
  if (before !== null) return { letter, isNew: false, appendedAt: before }
  await log.append(letter.topic, [{ key: judged.key, value, headers }])
  await options.afterAppend?.()
  await endResubmission(database.pool, letter, digest)
  const { resubmitted } = await readLetter(database.pool, letter)
  return { letter, isNew: true, appendedAt: resubmitted?.appendedAt ?? null }
}

function judge(decoder: Decoder, topic: string, record: { readonly value: Uint8Array; readonly headers: LogHeaders; readonly logTimeMs: number }): { readonly refusal: Refusal | null; readonly key: string | null } {
  if (isReferenceTopic(topic)) {
    const decoded = decodeReference(topic, record)
    return 'refusal' in decoded ? { refusal: decoded.refusal, key: null } : { refusal: null, key: referenceId(topic, record) }
  }
  const decoded = decoder.decode(record, topic)
  return 'refusal' in decoded ? { refusal: decoded.refusal, key: null } : { refusal: null, key: decoded.events[0]?.orderId ?? null }
}
