/**
 * Every error says what its caller must do. One class per reaction, one code per cause; HTTP statuses exist only in `serving/`,
 * driver errors only inside adapters.
 */

export type ErrorCode =
  | 'invalid-event' // dead-letter it
  | 'invalid-request' // tell the caller what to change
  | 'unavailable' // retry with back-off
  | 'conflict' // somebody else was first: read again
  | 'fenced' // another worker owns the partition: drop memory, open again
  | 'stale-horizon' // repeat with a fresh horizon
  | 'config' // exit, with the fix in the message
  | 'corrupt' // stored data is not what its register says: stop, name it
  | 'loss' // a log range is gone: stop the partition, wait for a person
  | 'held' // a batch differs from the live figures and nothing explains it

export type ErrorDetails = Readonly<Record<string, unknown>>

export class TidemarkError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly details: ErrorDetails

  constructor(code: ErrorCode, retryable: boolean, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.code = code
    this.retryable = retryable
    this.details = details
  }
}

/** The request cannot be answered as asked; the message names the parameter and what it may be. */
export class InvalidRequestError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails) {
    super('invalid-request', false, message, details)
  }
}

/** A dependency does not answer or answered with a passing failure: retry with back-off. */
export class UnavailableError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails, cause?: unknown) {
    super('unavailable', true, message, details, cause)
  }
}

/** Something of that name or version exists already, or changed in between: read again, then decide. */
export class ConflictError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails, cause?: unknown) {
    super('conflict', false, message, details, cause)
  }
}

/** Another batch was published since this one began: what this one found no longer stands on it. Begin again. */
export class OvertakenError extends ConflictError {}

/** The committed offset was not where this worker left it: another worker owns the partition. Drop memory and open again. */
export class FencedError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails) {
    super('fenced', true, message, details)
  }
}

/** The pointer moved between two reads that must agree: repeat the request. */
export class StaleHorizonError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails) {
    super('stale-horizon', true, message, details)
  }
}

/** A setting is missing or wrong: exit with a non-zero code; the message holds the fix. */
export class ConfigError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails, cause?: unknown) {
    super('config', false, message, details, cause)
  }
}

/** The figures are made with other settings or another version than the caller has: it starts again with those of the store. */
export class LogicError extends ConfigError {}

/** A batch takes another logic version into use just now: nothing is counted until it serves, which is soon. */
export class SwitchingError extends UnavailableError {}

/** Stored data differs from what the register or its own checksum says. Nothing may be computed from it. */
export class CorruptError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails, cause?: unknown) {
    super('corrupt', false, message, details, cause)
  }
}

/** A range of the log is gone or was rebuilt before it was archived: the partition stops until a person has put it back. */
export class LossError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails) {
    super('loss', false, message, details)
  }
}

/** The batch differs from the live figures and no stated rule explains the difference: it is not published. */
export class HeldError extends TidemarkError {
  constructor(message: string, details?: ErrorDetails) {
    super('held', false, message, details)
  }
}

/** The text of an unknown thrown value, for messages. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
