import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'

/** npm passes a terminal's Ctrl-C on although everyone has had it already: copies within this time are one signal. */
const SAME_SIGNAL_MS = 500
/** After a second signal the program may still end in its own way, this long. */
const LAST_WORDS_MS = 3_000

/**
 * Runs `command` as if it stood in our place: our terminal, our signals (each once), and resolves with its exit code (128 + n when a
 * signal ended it). A second signal ends it soon, however busy it is.
 */
export function runInPlace(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit' })
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    let lastAt = -Infinity
    let count = 0
    const pass = (signal) => {
      const now = Date.now()
      if (now - lastAt < SAME_SIGNAL_MS) return
      lastAt = now
      count += 1
      if (!hasReachedChild(signal)) child.kill(signal)
      if (count > 1) setTimeout(() => child.kill('SIGKILL'), LAST_WORDS_MS).unref()
    }
    for (const signal of signals) process.on(signal, pass)
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      for (const name of signals) process.off(name, pass)
      resolve(code ?? 128 + (constants.signals[signal] ?? 0))
    })
  })
}

/** The terminal sends Ctrl-C to all of its foreground processes, so the child has had it already; sent twice it would mean "at once". */
function hasReachedChild(signal) {
  if (process.platform === 'win32') return true
  if (signal === 'SIGTERM') return false
  if (process.platform !== 'linux') return Boolean(process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY)
  const stat = readFileSync('/proc/self/stat', 'latin1')
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return group === foreground
}
