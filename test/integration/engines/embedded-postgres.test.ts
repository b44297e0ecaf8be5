import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '#core/errors.ts'
import { embeddedPostgresUsers, openEmbeddedPostgres, removeEmbeddedPostgres } from '#engines/embedded-postgres.ts'
import { SERVER_ACCOUNT, commandAs } from '#engines/postgres-account.ts'
import { startOf } from '#engines/process-identity.mjs'

const CHILD = fileURLToPath(new URL('./embedded-postgres-child.ts', import.meta.url))
const DEADLINE_MS = 20_000
/** An id without an account, as which root tries what a plain user sees. */
const PLAIN_ID = 26999
const isRoot = process.getuid?.() === 0
const isLinux = process.platform === 'linux'
/** Whether a plain user could run this very code: not so in a clone below root's home. */
const isOpenClone = isLinux && foldersAbove(CHILD).every((folder) => (statSync(folder).mode & 0o001) !== 0)

type Opened = { readonly url: string; readonly pid: number; readonly port: number; readonly owner: boolean }
type Opener = { readonly child: ChildProcess; readonly opened: Opened; readonly close: () => Promise<void> }

let root = ''
/** Setting a cluster up takes most of a second, so the tests that do not need a new one take turns at this. */
let shared = ''
const children: ChildProcess[] = []

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tidemark-postgres-'))
  shared = join(root, 'shared')
})

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
  for (const name of readdirSync(root)) {
    const dataDirectory = join(root, name)
    if (dataDirectory !== shared) await removeEmbeddedPostgres(dataDirectory)
    // Whoever leaves last stops what a killed process left running.
    else await (await openEmbeddedPostgres({ dataDirectory }))[Symbol.asyncDispose]()
  }
})

afterAll(async () => {
  await removeEmbeddedPostgres(shared)
  rmSync(root, { recursive: true, force: true })
})

describe('a server shared through a folder', () => {
  test('starts, answers, and holds what was written over a stop and a start', async () => {
    const dataDirectory = join(root, 'first data, ünïcode')
    {
      await using first = await openEmbeddedPostgres({ dataDirectory, settings: { work_mem: '7MB' } })
      expect(first.owner).toBe(true)
      const settings = await query(first.url, "SELECT current_setting('work_mem') AS mem, current_setting('fsync') AS fsync, current_setting('listen_addresses') AS at")
      expect(settings).toEqual([{ mem: '7MB', fsync: 'on', at: '127.0.0.1' }])
      expect(await query(first.url, "SELECT datcollate, pg_encoding_to_char(encoding) AS encoding FROM pg_database WHERE datname = current_database()")).toEqual([
        { datcollate: 'C', encoding: 'UTF8' },
      ])
      await query(first.url, 'CREATE TABLE kept AS SELECT 7 AS seven')
      expect(statSync(join(dataDirectory, 'postgres.password')).mode & 0o777).toBe(0o600)
      await expect(query(first.url.replace(/:[0-9a-f]+@/, ':wrong@'), 'SELECT 1')).rejects.toThrow(/password/)
    }
    await using second = await openEmbeddedPostgres({ dataDirectory })
    expect(await query(second.url, 'SELECT seven FROM kept')).toEqual([{ seven: 7 }])
  })

  test('whoever comes second joins, and outlives the first; the last to leave stops it', async () => {
    const dataDirectory = shared
    const first = await openInChild(dataDirectory)
    const second = await openEmbeddedPostgres({ dataDirectory })
    expect([first.opened.owner, second.owner]).toEqual([true, false])
    expect(second.url).toBe(first.opened.url)
    expect(await embeddedPostgresUsers(dataDirectory)).toEqual(expect.arrayContaining([process.pid, first.child.pid]))
    await expect(removeEmbeddedPostgres(dataDirectory)).rejects.toThrow(/in use by process/)
    await first.close()
    expect(await query(second.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    await second[Symbol.asyncDispose]()
    await second[Symbol.asyncDispose]()
    await expect(query(second.url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/)
    expect(await embeddedPostgresUsers(dataDirectory)).toEqual([])
  })

  test('two openings of one process are two users', async () => {
    const dataDirectory = join(root, 'twice')
    const [one, other] = await Promise.all([openEmbeddedPostgres({ dataDirectory }), openEmbeddedPostgres({ dataDirectory })])
    expect(one.owner).toBe(!other.owner)
    await one[Symbol.asyncDispose]()
    expect(await query(other.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    await other[Symbol.asyncDispose]()
  })

  test('processes that open an empty folder at the same instant get one server', async () => {
    const dataDirectory = join(root, 'raced')
    const openers = await Promise.all([openInChild(dataDirectory), openInChild(dataDirectory), openInChild(dataDirectory)])
    expect(openers.filter(({ opened }) => opened.owner)).toHaveLength(1)
    expect(new Set(openers.map(({ opened }) => opened.url)).size).toBe(1)
    await Promise.all(openers.map(({ close }) => close()))
    const url = openers[0]?.opened.url ?? ''
    await expect(query(url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/)
  })
})

describe.skipIf(process.platform === 'win32')('what was killed', () => {
  test('kill -9 of the owner leaves the server, and the next to come joins it and stops it', async () => {
    const dataDirectory = shared
    const { child, opened } = await openInChild(dataDirectory)
    await query(opened.url, 'CREATE TABLE orphan AS SELECT 7 AS seven')
    await kill(child, 'SIGKILL')
    const next = await openEmbeddedPostgres({ dataDirectory })
    expect({ pid: next.pid, owner: next.owner }).toEqual({ pid: opened.pid, owner: false })
    expect(await embeddedPostgresUsers(dataDirectory)).toEqual([process.pid])
    expect(await query(next.url, 'SELECT seven FROM orphan')).toEqual([{ seven: 7 }])
    await next[Symbol.asyncDispose]()
    await expect(query(next.url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/)
  })

  test("Ctrl-C, which reaches all of the owner's process group, does not reach the server", async () => {
    const dataDirectory = shared
    const { child, opened } = await openInChild(dataDirectory)
    process.kill(-(child.pid ?? 0), 'SIGINT')
    await once(child, 'exit')
    await using next = await openEmbeddedPostgres({ dataDirectory })
    expect({ pid: next.pid, owner: next.owner }).toEqual({ pid: opened.pid, owner: false })
  })

  test.skipIf(!isLinux)('kill -9 of every process of the server: it starts again on its port with all that was committed', async () => {
    const dataDirectory = shared
    await using postgres = await openEmbeddedPostgres({ dataDirectory })
    const { url, pid } = postgres
    await query(url, 'CREATE TABLE thousand AS SELECT generate_series(1, 1000) AS n')
    for (const victim of [pid, ...childrenOf(pid)]) process.kill(victim, 'SIGKILL')
    await postgres.ensureRunning()
    expect(postgres.pid).not.toBe(pid)
    expect(postgres.url).toBe(url)
    expect(await query(url, 'SELECT count(*)::int AS rows FROM thousand')).toEqual([{ rows: 1000 }])
    await postgres.ensureRunning()
    expect(await embeddedPostgresUsers(dataDirectory)).toEqual([process.pid])
  })

  test('kill -9 of the first process of the server alone, while a statement runs in another', async () => {
    const dataDirectory = shared
    const { child, opened } = await openInChild(dataDirectory)
    const busy = query(opened.url, 'SELECT sum(n::float8) FROM generate_series(1, 3000000) AS n').catch(() => {})
    process.kill(opened.pid, 'SIGKILL')
    await kill(child, 'SIGKILL')
    await using next = await openEmbeddedPostgres({ dataDirectory })
    expect(next.owner).toBe(true)
    expect(await query(next.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    await busy
  })

  test.each(['a process of somebody else', 'this process', 'nothing'])('a stale postmaster.pid that names %s does not stop the next start', async (named) => {
    const dataDirectory = shared
    const { child, opened } = await openInChild(dataDirectory)
    const file = join(dataDirectory, 'postgres', 'postmaster.pid')
    const written = readFileSync(file, 'utf8')
    process.kill(opened.pid, 'SIGKILL')
    await kill(child, 'SIGKILL')
    await until(() => startOf(opened.pid) === undefined)
    const pid = named === 'this process' ? process.pid : 1
    writeFileSync(file, named === 'nothing' ? '' : written.replace(/^\d+/, String(pid)))
    const anHourAgo = Date.now() / 1000 - 3600
    utimesSync(file, anHourAgo, anHourAgo)
    await using next = await openEmbeddedPostgres({ dataDirectory })
    expect(next.owner).toBe(true)
    expect(await query(next.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('a set-up that was cut off is thrown away', async () => {
    const dataDirectory = join(root, 'cut off')
    mkdirSync(join(dataDirectory, 'postgres.init-0', 'cluster', 'base'), { recursive: true })
    mkdirSync(join(dataDirectory, 'postgres'))
    writeFileSync(join(dataDirectory, 'postgres.password.draft'), 'half')
    await using postgres = await openEmbeddedPostgres({ dataDirectory })
    expect(await query(postgres.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(readdirSync(dataDirectory).filter((name) => /init-|draft/.test(name))).toEqual([])
  })
})

describe('what a person must put right', () => {
  test('files of another version, and files that are no database', async () => {
    const dataDirectory = join(root, 'foreign')
    mkdirSync(join(dataDirectory, 'postgres'), { recursive: true })
    writeFileSync(join(dataDirectory, 'postgres', 'letter.txt'), 'Dear')
    await expect(openEmbeddedPostgres({ dataDirectory })).rejects.toThrow(/not a database: move it away/)
    writeFileSync(join(dataDirectory, 'postgres', 'PG_VERSION'), '17\n')
    await expect(openEmbeddedPostgres({ dataDirectory })).rejects.toThrow(/written by PostgreSQL 17, this is 18/)
    expect(readFileSync(join(dataDirectory, 'postgres', 'letter.txt'), 'utf8')).toBe('Dear')
    rmSync(dataDirectory, { recursive: true })
  })

  test("a wrong setting, with PostgreSQL's own words, and nobody left as a user", async () => {
    const dataDirectory = shared
    const failure = await openEmbeddedPostgres({ dataDirectory, settings: { shared_buffers: 'many' } }).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ConfigError)
    expect(String(failure)).toMatch(/A setting handed to PostgreSQL is wrong[\s\S]*invalid value for parameter "shared_buffers": "many"/)
    expect(await embeddedPostgresUsers(dataDirectory)).toEqual([])
    await expect(openEmbeddedPostgres({ dataDirectory, settings: { 'fsync=off -c x': '1' } })).rejects.toThrow(/not the name of a PostgreSQL setting/)
  })

  test('a missing password, and one of another database', async () => {
    const dataDirectory = shared
    await (await openEmbeddedPostgres({ dataDirectory }))[Symbol.asyncDispose]()
    const file = join(dataDirectory, 'postgres.password')
    const password = readFileSync(file, 'utf8')
    rmSync(file)
    await expect(openEmbeddedPostgres({ dataDirectory })).rejects.toThrow(/postgres\.password, the password of the database beside it, is missing/)
    writeFileSync(file, 'another\n', { mode: 0o600 })
    await expect(openEmbeddedPostgres({ dataDirectory })).rejects.toThrow(/does not take the password/)
    writeFileSync(file, password, { mode: 0o600 })
    await using postgres = await openEmbeddedPostgres({ dataDirectory })
    expect(postgres.owner).toBe(true)
  })
})

describe.skipIf(!isRoot || !isLinux)('root (skipped: run the tests as root to try it)', () => {
  test('runs the server as an id of its own, below a folder that is closed to it, without the rights of root', async () => {
    // mkdtemp makes folders of mode 0700, as root's home is.
    expect(statSync(root).mode & 0o777).toBe(0o700)
    await using postgres = await openEmbeddedPostgres({ dataDirectory: join(root, 'of root') })
    const status = readFileSync(`/proc/${postgres.pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\t26257\t26257\t26257\t26257$/m)
    expect(status).toMatch(/^CapEff:\t0000000000000004$/m)
    expect(statSync(join(root, 'of root', 'postgres')).uid).toBe(26257)
  })

  test.each([
    ['in a closed folder', 0o755, '0000000000000004'],
    ['closed themselves, as under umask 077', 0o700, '0000000000000006'],
  ])('reaches its programs %s', (_where, mode, capabilities) => {
    const home = join(root, 'programs')
    const postgres = join(home, 'bin', 'postgres')
    for (const name of ['bin', 'lib', 'share']) mkdirSync(join(home, name), { recursive: true })
    writeFileSync(postgres, "#!/bin/sh\ngrep '^Cap[EP]' /proc/self/status\n")
    chmodSync(postgres, mode)
    const binaries = { home, postgres, initdb: postgres, pgCtl: postgres, packageName: 'programs' }
    const look = `process.chdir('/'); fs.accessSync('${postgres}', fs.constants.X_OK); console.log(child_process.execFileSync('${postgres}', { encoding: 'utf8' }))`
    const { file, args } = commandAs(SERVER_ACCOUNT, binaries, home, process.execPath, ['-e', look])
    expect(execFileSync(file, args, { encoding: 'utf8' })).toMatch(new RegExp(`^CapPrm:\t${capabilities}\nCapEff:\t${capabilities}\n`))
    rmSync(home, { recursive: true })
  })

  test.skipIf(!isOpenClone)('needs no capability in a folder that everyone may enter, and runs what it finds as the owner of the files', async () => {
    const open = mkdtempSync(join(tmpdir(), 'tidemark-postgres-open-'))
    try {
      chownSync(open, PLAIN_ID, PLAIN_ID)
      const byUser = await openInChild(open, PLAIN_ID)
      expect(readFileSync(`/proc/${byUser.opened.pid}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\t${PLAIN_ID}\t`, 'm'))
      const byRoot = await openEmbeddedPostgres({ dataDirectory: open })
      expect({ pid: byRoot.pid, owner: byRoot.owner }).toEqual({ pid: byUser.opened.pid, owner: false })
      await byUser.close()
      await byRoot[Symbol.asyncDispose]()
      await using again = await openEmbeddedPostgres({ dataDirectory: open })
      const status = readFileSync(`/proc/${again.pid}/status`, 'utf8')
      expect(status).toMatch(new RegExp(`^Uid:\t${PLAIN_ID}\t`, 'm'))
      expect(status).toMatch(/^CapEff:\t0000000000000000$/m)
    } finally {
      await removeEmbeddedPostgres(open)
      rmSync(open, { recursive: true, force: true })
    }
  })

  test.skipIf(!isOpenClone)('a plain user is told whose a database is that he may not use', async () => {
    const open = mkdtempSync(join(tmpdir(), 'tidemark-postgres-open-'))
    try {
      chownSync(open, PLAIN_ID, PLAIN_ID)
      await (await openEmbeddedPostgres({ dataDirectory: open }))[Symbol.asyncDispose]()
      await expect(openInChild(open, PLAIN_ID)).rejects.toThrow(/belongs to user 26257 and this process runs as user 26999/)
    } finally {
      await removeEmbeddedPostgres(open)
      rmSync(open, { recursive: true, force: true })
    }
  })

  test('a cluster that root has copied runs', async () => {
    const original = join(root, 'original')
    await (await openEmbeddedPostgres({ dataDirectory: original }))[Symbol.asyncDispose]()
    const copy = join(root, 'copy')
    cpSync(original, copy, { recursive: true })
    expect(statSync(join(copy, 'postgres')).uid).toBe(0)
    await using postgres = await openEmbeddedPostgres({ dataDirectory: copy })
    expect(await query(postgres.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })
})

/** Opens the folder's database in a process and group of its own. Rejects with what the process printed if it fails. */
async function openInChild(dataDirectory: string, id?: number): Promise<Opener> {
  const identity = id === undefined ? {} : { uid: id, gid: id }
  const child = spawn(process.execPath, [CHILD, dataDirectory], { ...identity, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
  children.push(child)
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  for await (const line of createInterface(child.stdout)) {
    const close = async () => {
      child.stdin.write('close\n')
      await once(child, 'exit')
    }
    return { child, opened: JSON.parse(line) as Opened, close }
  }
  throw new Error(complaint)
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal)
  await once(child, 'exit')
}

function foldersAbove(path: string): readonly string[] {
  const folder = dirname(path)
  return folder === path ? [] : [folder, ...foldersAbove(folder)]
}

function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
}

async function query(url: string, sql: string): Promise<readonly unknown[]> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.query(sql)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms`)
    await pause(5)
  }
}
