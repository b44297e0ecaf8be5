/** What the doctor finds, and how a look at one thing is kept from holding up the others. */
import { ConfigError, messageOf } from '#core/errors.ts'

export type Level = 'ok' | 'warn' | 'fail'

export type Finding = {
  /** What was looked at: `node`, `database`, `log`, `lake` … */
  readonly area: string
  readonly check: string
  readonly level: Level
  readonly says: string
  /** What to do about it; there is one wherever the level is not `ok`. */
  readonly fix?: string
}

/** Takes the findings of one area as they come. */
export type Report = {
  ok(check: string, says: string): void
  warn(check: string, says: string, fix: string): void
  fail(check: string, says: string, fix: string): void
}

export type Examination = {
  readonly area: string
  /** What is said to have failed where the look itself fails, and what then helps. */
  readonly check: string
  readonly fix: string
  readonly timeoutMs: number
  readonly look: (report: Report, signal: AbortSignal) => Promise<void>
}

/** The findings of one look. Whatever it throws, and its being late, are findings too; those before stay. Never rejects. */
export async function examine({ area, check, fix, timeoutMs, look }: Examination): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  const stop = new AbortController()
  const report: Report = {
    ok: (name, says) => void (stop.signal.aborted || findings.push({ area, check: name, level: 'ok', says: oneLine(says) })),
    warn: (name, says, help) => void (stop.signal.aborted || findings.push({ area, check: name, level: 'warn', says: oneLine(says), fix: oneLine(help) })),
    fail: (name, says, help) => void (stop.signal.aborted || findings.push({ area, check: name, level: 'fail', says: oneLine(says), fix: oneLine(help) })),
  }
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1_000} s`)), timeoutMs)
  try {
    const looking = look(report, stop.signal)
    // After its time nobody hears of its failure.
    looking.catch(() => undefined)
    await Promise.race([looking, late])
  } catch (thrown) {
    // A ConfigError's message is its fix.
    report.fail(check, withCause(thrown), thrown instanceof ConfigError ? 'Do what the message says, then look again.' : fix)
  } finally {
    clearTimeout(timer)
    stop.abort(new Error('The doctor has stopped waiting.'))
  }
  return findings
}

const causesMax = 5

export function worst(findings: readonly Finding[]): Level {
  if (findings.some(({ level }) => level === 'fail')) return 'fail'
  return findings.some(({ level }) => level === 'warn') ? 'warn' : 'ok'
}

/** "It could not connect within 6 s" leaves out what went wrong each time. */
function withCause(thrown: unknown): string {
  const message = messageOf(thrown)
  let deepest = thrown
  for (let depth = 0; depth < causesMax && deepest instanceof Error && deepest.cause !== undefined; depth++) deepest = deepest.cause
  const cause = messageOf(deepest)
  return cause === '' || message.includes(cause) ? message : `${message} (${cause})`
}

/** Messages of engines may have several lines, and URLs in them a password. */
function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').replace(/\/\/[^/@\s]+@/g, '//…@').trim()
}
