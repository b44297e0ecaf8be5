/** What `npm test` leaves behind when it is ended while the engines start: nothing. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { startOf } from '#engines/process-identity.mjs'
import { waitUntil } from '#test/wait-until.ts'

const checks = fileURLToPath(new URL('../../../cli/checks.ts', import.meta.url))
const folders: string[] = []
const left: number[] = []

afterEach(() => {
  for (const pid of left.splice(0)) if (startOf(pid) !== undefined) process.kill(pid, 'SIGKILL')
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A machine that has one engine, which starts and never answers. */
function machineWithSilentRedis(): NodeJS.ProcessEnv {
  const place = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  folders.push(place)
  for (const name of ['bin', 'tmp']) mkdirSync(join(place, name))
  for (const name of ['sh', 'sleep', 'env']) symlinkSync(['/bin', '/usr/bin'].map((folder) => join(folder, name)).find(existsSync)!, join(place, 'bin', name))
  writeFileSync(join(place, 'bin', 'redis-server'), '#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=7.0.15" && exit\nexec sleep 600\n', { mode: 0o755 })
  return { PATH: join(place, 'bin'), TMPDIR: join(place, 'tmp'), HOME: place, TIDEMARK_ENGINES_CACHE: join(place, 'cache') }
}

function startedPid(folder: string): number | undefined {
  const data = readdirSync(folder).find((name) => name.startsWith('tidemark-engines-'))
  const state = data === undefined ? '' : join(folder, data, 'engines', 'state.json')
  if (!existsSync(state)) return undefined
  const { processes } = JSON.parse(readFileSync(state, 'utf8')) as { readonly processes: readonly { readonly pid: number }[] }
  return processes[0]?.pid
}

for (const [signal, expected] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
  test(`${signal} while the engines start ends those that run already, and no test begins`, { timeout: 60_000 }, async () => {
    const environment = machineWithSilentRedis()
    const child = spawn(process.execPath, [checks, 'test/no-such-file', '--engines'], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
    left.push(child.pid!)
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    await waitUntil('an engine has been started', () => startedPid(environment['TMPDIR']!) !== undefined, 30_000)
    const pid = startedPid(environment['TMPDIR']!)!
    left.push(pid)
    child.kill(signal)
    // As npm does, which passes on what the terminal has sent already.
    child.kill(signal)
    expect(await ended, said).toBe(expected)
    expect(startOf(pid)).toBeUndefined()
    expect(said).not.toMatch(/Tests \(vitest\)/)
    expect(readdirSync(environment['TMPDIR']!).filter((name) => name.startsWith('tidemark-engines-'))).toEqual([])
  })
}
