/** A machine that gives no process for a layer, for a while or for good: `up` goes on, says so, and tries again. */
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { UnavailableError } from '#core/errors.ts'
import { Supervisor } from '#cli/supervisor.ts'
import { version } from '#store/version.ts'
import { waitUntil } from '#test/wait-until.ts'

const node = process.execPath

let folder: string
let logDirectory: string
let said: string[]
let supervisor: Supervisor
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-supervisor-'))
  logDirectory = join(folder, 'logs')
  said = []
  supervisor = new Supervisor({ logDirectory, dataDirectory: folder, say: (line) => said.push(line) })
})
afterEach(async () => {
  process.execPath = node
  await supervisor[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

/** A layer that prints the version, and has thereby ended by itself before it was ready. */
async function startLayer(): Promise<unknown> {
  return supervisor.start('speed', ['--version']).catch((thrown: unknown) => thrown)
}

async function expectStartedInTheEnd(started: Promise<unknown>): Promise<void> {
  const refusal = await started
  expect(refusal).toBeInstanceOf(UnavailableError)
  expect((refusal as Error).message).toBe(`The speed layer did not start; ${join(logDirectory, 'speed.log')} says why.`)
  expect(await readFile(join(logDirectory, 'speed.log'), 'utf8')).toContain(version)
  expect(supervisor.layers).toMatchObject([{ name: 'speed', restarts: said.length }])
}

test('a layer whose process the machine refuses is started once it no longer does', { skip: process.platform === 'win32' }, async () => {
  await mkdir(logDirectory)
  process.execPath = join(folder, 'node')
  const started = startLayer()
  const first = await waitUntil('a line on what is in the way', () => said[0])
  expect(first).toContain(`The speed layer cannot be started (spawn ${process.execPath} ENOENT); trying again in 1 s. See how many processes`)
  expect(supervisor.layers).toEqual([{ name: 'speed', pid: undefined, restarts: 0 }])
  await symlink(node, process.execPath)
  await expectStartedInTheEnd(started)
})

test('so is one that could not be given a log to write to', async () => {
  const started = startLayer()
  const first = await waitUntil('a line on what is in the way', () => said[0])
  expect(first).toMatch(/^The speed layer cannot be started \(ENOENT: .*speed\.log.*\); trying again in 1 s\. /)
  await mkdir(logDirectory)
  await expectStartedInTheEnd(started)
})

test('one that is refused while all is stopped is not waited for, nor tried again', { skip: process.platform === 'win32' }, async () => {
  await mkdir(logDirectory)
  process.execPath = join(folder, 'node')
  const started = startLayer()
  // In the same turn: what becomes of the attempt is not known yet.
  await supervisor[Symbol.asyncDispose]()
  expect(await started).toBeInstanceOf(UnavailableError)
  await setImmediate()
  expect(said).toEqual([])
})

test('nor is one that waits for its next attempt when all is stopped', async () => {
  const started = startLayer()
  await waitUntil('a line on what is in the way', () => said[0])
  await supervisor[Symbol.asyncDispose]()
  expect(await started).toBeInstanceOf(UnavailableError)
})

test('what no time will mend ends the start at once, with its reason', async () => {
  await writeFile(logDirectory, 'a file')
  const refusal = await startLayer()
  expect((refusal as Error).message).toMatch(/^The speed layer cannot be started \(ENOTDIR: .*\)\.$/)
  expect(said).toEqual([])
})
