// A lock between processes that a killed holder cannot leave shut, in plain files (Node has no flock, and the bootstrap has no
// package yet).
//
// The lock is a folder of numbered files; the largest number is the lock's present turn. A turn is created with its holders
// written inside (a hard link to a finished file, so nobody sees half of one) and ends when it is truncated to nothing, or when
// none of its holders runs any more. Both ends are for good, so whoever saw turn n ended may try to create n + 1, and creating
// is exclusive: one wins. The usual single lock file has no such order: between "its holder is dead" and "so I remove it"
// another process may have taken it, and a live lock is removed.
//
// Old turns are removed, but only far behind the present one, so that a listing taken meanwhile never misses the largest.
import { appendFileSync, linkSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isRunning, startOf } from './process-identity.mjs'

const POLL_MS = 20
const TURNS_KEPT = 32

/** The lock stayed taken until the deadline; `holder` is the process id that has it. */
export class LockTimeoutError extends Error {
  constructor(directory, holder, waitMs) {
    super(`process ${holder} has held the lock ${directory} for more than ${Math.round(waitMs / 1000)} s`)
    this.name = 'LockTimeoutError'
    this.holder = holder
  }
}

/**
 * Waits for the lock kept in `directory` (made when missing) and takes it for this process. `waitMs` bounds the wait; `onWait`
 * is called with the holder's process id whenever the wait begins or the holder changes. Throws LockTimeoutError.
 * Within one process the lock excludes too. Not fair: waiters race.
 */
export async function acquireFileLock(directory, { waitMs, onWait }) {
  const deadline = Date.now() + waitMs
  let announced
  for (;;) {
    const turn = presentTurn(directory)
    const holder = turn === 0 ? undefined : holderOf(directory, turn)
    if (holder === undefined) {
      const lock = takeTurn(directory, turn + 1)
      if (lock !== undefined) return lock
      continue
    }
    if (holder !== announced) onWait?.(holder)
    announced = holder
    if (Date.now() >= deadline) throw new LockTimeoutError(directory, holder, waitMs)
    await pause(POLL_MS)
  }
}

function presentTurn(directory) {
  mkdirSync(directory, { recursive: true })
  return Math.max(0, ...turnsIn(directory))
}

function turnsIn(directory) {
  return readdirSync(directory).filter((name) => /^\d+$/.test(name)).map(Number)
}

/** The first holder of the turn that still runs, or undefined when the turn has ended. */
function holderOf(directory, turn) {
  let lines
  try {
    lines = readFileSync(join(directory, String(turn)), 'utf8').split('\n')
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
  for (const line of lines) {
    const [pid, started] = line.split(' ')
    if (pid && started && isRunning(Number(pid), started)) return Number(pid)
  }
  return undefined
}

function takeTurn(directory, turn) {
  const file = join(directory, String(turn))
  const draft = join(directory, `draft-${process.pid}-${randomUUID()}`)
  try {
    writeFileSync(draft, holderLine(process.pid))
    linkSync(draft, file)
  } catch (error) {
    if (error.code === 'EEXIST' || error.code === 'ENOENT') return undefined
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
  if (presentTurn(directory) !== turn) {
    // Our listing was so old that this number had been used and cleared away: it is not the present turn.
    truncateSync(file)
    return undefined
  }
  clearAway(directory, turn)
  return {
    addHolder: (pid) => appendFileSync(file, holderLine(pid)),
    release: () => {
      try {
        truncateSync(file)
      } catch (error) {
        if (error.code !== 'ENOENT') throw error
      }
    },
  }
}

function holderLine(pid) {
  return `${pid} ${startOf(pid) ?? 'ended'}\n`
}

function clearAway(directory, turn) {
  for (const name of readdirSync(directory)) {
    const drafter = /^draft-(\d+)-/.exec(name)?.[1]
    const isOld = /^\d+$/.test(name) && Number(name) <= turn - TURNS_KEPT
    if (isOld || (drafter !== undefined && startOf(Number(drafter)) === undefined)) rmSync(join(directory, name), { force: true })
  }
}
