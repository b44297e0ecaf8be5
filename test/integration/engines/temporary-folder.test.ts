/** What a kill leaves in temporary folders, who removes it, and whose folders nobody touches. */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rename, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { signName } from '#engines/sign-of-life.ts'
import { openTemporaryFolder } from '#engines/temporary-folder.ts'
import { waitUntil } from '#test/wait-until.ts'

const child = fileURLToPath(new URL('./temporary-folder-child.ts', import.meta.url))
/** A process with an own number for every process, as in a container; it is killed with its parent. */
const container = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
const withoutContainers = process.platform !== 'linux' || spawnSync(container[0]!, [...container.slice(1), 'true']).status !== 0

let folder: string
let temp: string
const children: ChildProcess[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-left-'))
  temp = join(folder, 'temp')
  await mkdir(temp)
})
afterEach(async () => {
  await Promise.all(children.splice(0).map(kill))
  await rm(folder, { recursive: true })
})

async function kill(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return
  const ended = once(process, 'exit')
  process.kill('SIGKILL')
  await ended
}

/** A process that has opened DuckDB; resolves to it and the name of its folder. */
async function runOwner(isSpilling: boolean, within: readonly string[] = []): Promise<{ process: ChildProcess; name: string }> {
  const before = await readdir(temp)
  const [program, ...options] = [...within, process.execPath, child, folder, isSpilling ? 'spilling' : 'idle'] as const
  const owner = spawn(program, options, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(owner)
  let said = ''
  owner.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  await waitUntil('a process that has opened DuckDB', () => said === 'ready\n', 60_000)
  const [name, ...others] = (await readdir(temp)).filter((one) => !before.includes(one))
  expect(others).toEqual([])
  return { process: owner, name: name! }
}

async function spilledInto(name: string): Promise<string[]> {
  return (await readdir(join(temp, name))).filter((one) => one !== signName)
}

async function openAndClose(): Promise<void> {
  await using _engine = await openDuckDb({ lake: await openDiskLake({ root: join(folder, 'lake') }), tempDirectory: temp })
}

describe('the next opening of DuckDB', () => {
  test.each([['that had spilled', true], ['that had not', false]])('removes the folder of a killed process %s, and keeps that of a living one', async (_what, isSpilling) => {
    const killed = await runOwner(isSpilling)
    const living = await runOwner(true)
    expect((await readdir(temp)).sort()).toEqual([killed.name, living.name].sort())
    expect((await spilledInto(killed.name)).length > 0).toBe(isSpilling)
    await kill(killed.process)
    const spilled = await spilledInto(living.name)
    expect(spilled.length).toBeGreaterThan(0)
    await openAndClose()
    expect(await readdir(temp)).toEqual([living.name])
    expect(await spilledInto(living.name)).toEqual(spilled)
    await kill(living.process)
    await openAndClose()
    expect(await readdir(temp)).toEqual([])
  })

  test.skipIf(withoutContainers)('does so between containers that share a folder (enabled by the right to "unshare --pid", as root has it)', async () => {
    const killed = await runOwner(true)
    const outside = await runOwner(false)
    await kill(killed.process)
    const inside = await runOwner(true, container)
    expect((await readdir(temp)).sort()).toEqual([outside.name, inside.name].sort())
    await openAndClose()
    expect((await readdir(temp)).sort()).toEqual([outside.name, inside.name].sort())
    expect((await spilledInto(inside.name)).length).toBeGreaterThan(0)
    await kill(inside.process)
    await waitUntil('the folder of the killed container to be removed', async () => {
      await openAndClose()
      return (await readdir(temp)).join() === outside.name
    })
  })

  test.skipIf(process.platform !== 'linux')('removes what a process of an earlier boot left, and nothing of one that gives a sign of life', async () => {
    const owner = await runOwner(true)
    const elsewhere = owner.name.replace(/\.\w{12}\./, '.0123456789ab.')
    expect(elsewhere).not.toBe(owner.name)
    await rename(join(temp, owner.name), join(temp, elsewhere))
    owner.process.kill('SIGSTOP')
    await openAndClose()
    expect(await readdir(temp)).toEqual([elsewhere])
    await kill(owner.process)
    // What has to be done before could only be done there.
    await using _other = await openTemporaryFolder('duckdb', { parent: temp, beforeRemoval: async () => undefined })
    expect(await readdir(temp)).toContain(elsewhere)
    await openAndClose()
    expect(await readdir(temp)).not.toContain(elsewhere)
  })

  test('is disturbed by no other one, nor disturbs it', async () => {
    const killed = await runOwner(true)
    await kill(killed.process)
    const open = await Promise.all(Array.from({ length: 12 }, () => openTemporaryFolder('duckdb', { parent: temp })))
    expect((await readdir(temp)).sort()).toEqual(open.map(({ path }) => basename(path)).sort())
    await Promise.all(open.map((one) => one[Symbol.asyncDispose]()))
    expect(await readdir(temp)).toEqual([])
  })
})

describe('a folder', () => {
  /** The name that a process left which runs no more, in the place of this one or in another. */
  async function nameOfDead(place?: string): Promise<string> {
    await using ours = await openTemporaryFolder('duckdb', { parent: temp })
    const [, started, here, random] = basename(ours.path).slice('tidemark-duckdb-'.length).split('.')
    return `tidemark-duckdb-${2 ** 22 + 1}.${started}.${place ?? here}.${random}`
  }

  async function namesKept(...names: readonly string[]): Promise<string[]> {
    for (const name of names) await mkdir(join(temp, name, 'spilled'), { recursive: true })
    await using ours = await openTemporaryFolder('duckdb', { parent: temp })
    return (await readdir(temp)).filter((name) => join(temp, name) !== ours.path)
  }

  test('whose owner’s id another process has now is removed', async () => {
    await using ours = await openTemporaryFolder('duckdb', { parent: temp })
    const name = basename(ours.path)
    const earlier = name.replace(/\.([\w-]+)\./, '.$10.')
    expect(earlier).not.toBe(name)
    expect(await namesKept(earlier)).toEqual(process.platform === 'win32' ? [earlier, name].sort() : [name])
  })

  test('of a process in another container, or on another machine, that gave no sign is left to it', async () => {
    const dead = await nameOfDead()
    const elsewhere = await nameOfDead('0123456789ab')
    const nowhere = await nameOfDead('unknown')
    expect(await namesKept(dead, elsewhere, nowhere)).toEqual([elsewhere, nowhere].sort())
  })

  test.skipIf(process.getuid?.() !== 0)('of another user is left to him', async () => {
    const { chown } = await import('node:fs/promises')
    const dead = await nameOfDead()
    await mkdir(join(temp, dead))
    await chown(join(temp, dead), 12_345, 12_345)
    expect(await namesKept()).toEqual([dead])
  })

  test('that is only a link to one is not followed', async () => {
    const dead = await nameOfDead()
    await mkdir(join(folder, 'elsewhere', 'dear'), { recursive: true })
    await symlink(join(folder, 'elsewhere'), join(temp, dead), 'junction')
    expect(await namesKept()).toEqual([dead])
    expect(await readdir(join(folder, 'elsewhere'))).toEqual(['dear'])
  })

  test('of another kind is left to its kind', async () => {
    const other = (await nameOfDead()).replace('duckdb', 'doctor')
    expect(await namesKept(other, 'tidemark-duckdb-test-AbC123')).toEqual([other, 'tidemark-duckdb-test-AbC123'].sort())
  })

  test('without an owner in its name is left', async () => {
    expect(await namesKept('tidemark-duckdb-oLd123')).toEqual(['tidemark-duckdb-oLd123'])
  })

  test('stays where what must be done before its removal fails', async () => {
    const dead = await nameOfDead()
    await mkdir(join(temp, dead))
    const asked: string[] = []
    const open = async (fails: boolean): Promise<void> => {
      await using _ours = await openTemporaryFolder('duckdb', {
        parent: temp,
        beforeRemoval: async (path) => {
          asked.push(path)
          if (fails) throw new Error('it still runs')
        },
      })
    }
    await open(true)
    expect(await readdir(temp)).toEqual([dead])
    await open(false)
    expect(await readdir(temp)).toEqual([])
    expect(asked).toEqual([join(temp, dead), join(temp, dead)])
  })
})
