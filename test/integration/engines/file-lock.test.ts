import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LockTimeoutError, acquireFileLock } from '#engines/file-lock.mjs'
import { isRunning, startOf } from '#engines/process-identity.mjs'

const CHILD = fileURLToPath(new URL('./file-lock-child.ts', import.meta.url))

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-lock-'))
  writeFileSync(join(folder, 'counter'), '0')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('one process at a time has it, also while holders are killed', async () => {
  const turns = 60
  const enduring = [runChild(turns), runChild(turns), runChild(turns)]
  // Each of these is killed in its tenth turn, holding the lock, before it has counted that turn.
  const fragile = [runChild(10, 'fragile'), runChild(10, 'fragile'), runChild(10, 'fragile')]
  const ends = await Promise.all([...enduring, ...fragile])
  expect(ends.map(({ complaint }) => complaint).join('')).toBe('')
  expect(ends.map(({ end }) => end)).toEqual([0, 0, 0, 'SIGKILL', 'SIGKILL', 'SIGKILL'])
  expect(Number(readFileSync(join(folder, 'counter'), 'utf8'))).toBe(3 * turns + 3 * 9)
  expect(readdirSync(join(folder, 'lock')).length).toBeLessThan(50)
})

test('who waits learns for whom, and gives up at the deadline', async () => {
  const directory = join(folder, 'lock')
  const held = await acquireFileLock(directory, { waitMs: 1_000 })
  const holders: number[] = []
  const failure = await acquireFileLock(directory, { waitMs: 100, onWait: (holder) => holders.push(holder) }).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(LockTimeoutError)
  expect(holders).toEqual([process.pid])
  held.release()
  held.release()
  const next = await acquireFileLock(directory, { waitMs: 1_000 })
  next.release()
})

test('an added holder keeps it shut when the first has gone, until it ends itself', async () => {
  const directory = join(folder, 'lock')
  mkdirSync(directory)
  const helper = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  const pid = helper.pid ?? 0
  // As a killed holder leaves it: itself first, whom nobody finds any more, then whom it had added.
  writeFileSync(join(directory, '7'), `${pid} another-start\n${pid} ${startOf(pid)}\n`)
  await expect(acquireFileLock(directory, { waitMs: 100 })).rejects.toThrow(LockTimeoutError)
  helper.kill('SIGKILL')
  await once(helper, 'exit')
  const lock = await acquireFileLock(directory, { waitMs: 1_000 })
  expect(existsSync(join(directory, '8'))).toBe(true)
  lock.addHolder(process.pid)
  lock.release()
})

test('a process is told from another that gets its id later', () => {
  const started = startOf(process.pid) ?? ''
  expect(startOf(process.pid)).toBe(started)
  expect(isRunning(process.pid, started)).toBe(true)
  expect(isRunning(process.pid, `${started}0`)).toBe(process.platform === 'win32')
  expect(startOf(0)).toBeUndefined()
  expect(startOf(2 ** 22 + 1)).toBeUndefined()
})

async function runChild(turns: number, kind = 'enduring') {
  const child = spawn(process.execPath, [CHILD, folder, String(turns), kind], { stdio: ['ignore', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { end: code ?? signal, complaint }
}
