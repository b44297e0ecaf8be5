/** What root does with the folders of an account that is not trusted: no file outside of them changes, whatever that account put there. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { existsSync, lchownSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { findServer, writeFiles } from '#cli/engines/processes.ts'
import { ConfigError } from '#core/errors.ts'
import { startOf } from '#engines/process-identity.mjs'
import { waitUntil } from '#test/wait-until.ts'

const isRoot = process.geteuid?.() === 0
const account = { uid: 12_001, gid: 12_001 }
const folders: string[] = []
const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) process.kill(-child.pid!, 'SIGKILL')
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  folders.push(folder)
  return folder
}

function planIn(home: string) {
  return { account, folders: [join(home, 'data')], files: { [join(home, 'conf', 'a.yml')]: 'ours', [join(home, 'conf', 'more', 'b')]: 'ours' } }
}

function ownerOf(path: string): number {
  return lstatSync(path).uid
}

/** As versions did that gave all of it to the account, which then put a link to `target` at `link`. */
function plant(home: string, link: string, target: string): void {
  mkdirSync(join(home, 'data'), { recursive: true })
  mkdirSync(join(home, 'conf'), { recursive: true })
  rmSync(link, { recursive: true, force: true })
  symlinkSync(target, link)
  for (const path of [link, join(home, 'conf'), home]) lchownSync(path, account.uid, account.gid)
}

describe.skipIf(!isRoot)('root writes for another account (skipped for a plain user, who cannot)', () => {
  test('the account gets its data folder; the files and the folder above stay ours', () => {
    const home = join(temporaryFolder(), 'program')
    writeFiles(planIn(home), home)
    writeFiles(planIn(home), home)
    expect(readFileSync(join(home, 'conf', 'more', 'b'), 'utf8')).toBe('ours')
    expect([home, join(home, 'conf'), join(home, 'conf', 'a.yml'), join(home, 'conf', 'more')].map(ownerOf)).toEqual([0, 0, 0, 0])
    expect(ownerOf(join(home, 'data'))).toBe(account.uid)
    // The account adds what it needs, and removes nothing of ours.
    expect(lstatSync(join(home, 'conf')).mode & 0o7777).toBe(0o1775)
  })

  test('a link in place of a file, or of the folder of files, is replaced, and what it names is neither written nor given away', () => {
    for (const name of ['conf/a.yml', 'conf']) {
      const place = temporaryFolder()
      const home = join(place, 'program')
      const outside = name === 'conf' ? join(place, 'outside') : join(place, 'outside', 'a.yml')
      mkdirSync(join(place, 'outside'))
      writeFileSync(join(place, 'outside', 'a.yml'), 'of root')
      plant(home, join(home, name), outside)
      writeFiles(planIn(home), home)
      expect(readFileSync(join(place, 'outside', 'a.yml'), 'utf8'), name).toBe('of root')
      expect([outside, join(place, 'outside', 'a.yml')].map(ownerOf), name).toEqual([0, 0])
      expect(readFileSync(join(home, 'conf', 'a.yml'), 'utf8'), name).toBe('ours')
      expect(lstatSync(join(home, name)).isSymbolicLink(), name).toBe(false)
    }
  })

  test('a link in place of the data folder is refused, and one within it is given away itself, not what it names', () => {
    const place = temporaryFolder()
    const home = join(place, 'program')
    mkdirSync(join(place, 'outside'))
    plant(home, join(home, 'data'), join(place, 'outside'))
    expect(() => writeFiles(planIn(home), home)).toThrow(ConfigError)
    rmSync(join(home, 'data'))
    mkdirSync(join(home, 'data'))
    symlinkSync(join(place, 'outside'), join(home, 'data', 'link'))
    writeFiles(planIn(home), home)
    expect(ownerOf(join(home, 'data', 'link'))).toBe(account.uid)
    expect(ownerOf(join(place, 'outside'))).toBe(0)
  })
})

describe('the process that serves', () => {
  test('is believed only when it is of the group that was started, and its id stands in a plain file', async () => {
    const folder = temporaryFolder()
    const file = join(folder, 'pid')
    const leader = spawn('sh', ['-c', `sleep 600 & echo $! > '${file}.draft'; mv '${file}.draft' '${file}'; wait`], { detached: true, stdio: 'ignore' })
    children.push(leader)
    await waitUntil('the child tells its id', () => existsSync(file))
    const pid = Number(readFileSync(file, 'utf8'))
    expect(findServer(file, leader.pid!)).toEqual({ pid, started: startOf(pid) })
    expect(findServer(join(folder, 'missing'), leader.pid!)).toBeNull()
    symlinkSync(file, join(folder, 'link'))
    expect(findServer(join(folder, 'link'), leader.pid!)).toBeNull()
    writeFileSync(file, `${process.pid}\n`)
    expect(findServer(file, leader.pid!)).toBeNull()
    expect(findServer(folder, leader.pid!)).toBeNull()
  })
})
