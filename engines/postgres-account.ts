// PostgreSQL refuses to run as root. So root runs it under a number that needs no account, and the files belong to that number.
// Where a folder on the way (root's home, usually) lets nobody else through, the server keeps the one capability that looks past
// it, instead of asking for wider permissions on somebody's home. A plain user runs it as himself.
import { chownSync, lchownSync, lstatSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { ConfigError } from '#core/errors.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'

type Capability = 'dac_read_search' | 'dac_override'
/** Bits of /proc/self/status, as in linux/capability.h. */
const CAPABILITY_BITS: Readonly<Record<Capability | 'setpcap', bigint>> = { dac_override: 1n, dac_read_search: 2n, setpcap: 8n }

export type Account = { readonly uid: number; readonly gid: number }

/** Of the server and its files when root sets it up: a number that no account is likely to have, the same on every machine. */
export const SERVER_ACCOUNT: Account = { uid: 26257, gid: 26257 }

export type Command = {
  readonly file: string
  readonly args: readonly string[]
  readonly uid?: number
  readonly gid?: number
}

export function isRoot(): boolean {
  return process.geteuid?.() === 0
}

/** Who must run the server for the files in `cluster`: their owner, or our number where they are new; undefined = ourselves. */
export function accountFor(cluster: string): Account | undefined {
  const owner = statSync(cluster, { throwIfNoEntry: false })
  if (!isRoot()) {
    const own = process.geteuid?.()
    if (owner === undefined || own === undefined || owner.uid === own) return undefined
    throw new ConfigError(
      `The database in ${cluster} belongs to user ${owner.uid} and this process runs as user ${own}. Run it as the user who ` +
        `began it (root, if that was root), or choose another folder with --data.`,
      { cluster, owner: owner.uid },
    )
  }
  if (owner === undefined || owner.uid === 0) return SERVER_ACCOUNT
  return { uid: owner.uid, gid: owner.gid }
}

/**
 * An account that the system knows by name, for `initdb` alone: it asks for the name of its user and gives up where there is none
 * (the server does not ask). The files are handed over afterwards.
 */
export function findNamedAccount(): Account {
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter(({ name, uid }) => name !== undefined && Number.isInteger(uid) && uid > 0)
  const account = accounts.find(({ name }) => name === 'nobody') ?? accounts[0]
  if (account !== undefined) return { uid: account.uid, gid: account.gid }
  throw new ConfigError('PostgreSQL cannot be set up where /etc/passwd knows no account but root: add one (`useradd tidemark`), and start Tidemark as that user.')
}

/**
 * How `initdb` is run by a plain user whom the system knows by number only (a container started with `--user 1234`): in a user
 * namespace that shows the number as `nobody`'s. Undefined when he has a name, as nearly always.
 */
export function commandWithName(file: string, args: readonly string[]): Command | undefined {
  if (process.platform !== 'linux' || hasName()) return undefined
  const named = findNamedAccount()
  return { file: 'unshare', args: ['--user', `--map-user=${named.uid}`, `--map-group=${named.gid}`, file, ...args] }
}

function hasName(): boolean {
  try {
    return userInfo().username !== ''
  } catch {
    return false
  }
}

/** How to run a program of PostgreSQL as `account`, such that it reaches its own files and those below `directory`. */
export function commandAs(account: Account | undefined, binaries: PostgresBinaries, directory: string, file: string, args: readonly string[]): Command {
  if (account === undefined) return { file, args }
  const capabilities = neededCapabilities(account, binaries, directory)
  if (capabilities.length === 0) return { file, args, ...account }
  requireSetpriv(binaries, directory)
  const list = ['-all', ...capabilities.map((name) => `+${name}`)].join(',')
  const options = ['--reuid', String(account.uid), '--regid', String(account.gid), '--clear-groups', '--no-new-privs']
  // PostgreSQL looks for its programs with access(2), which leaves the capabilities of a plain user out, unless told by securebits.
  const lasting = holds('setpcap') ? ['--securebits=+no_setuid_fixup', `--bounding-set=${list}`] : []
  return { file: 'setpriv', args: [...options, ...lasting, `--inh-caps=${list}`, `--ambient-caps=${list}`, '--', file, ...args] }
}

function neededCapabilities(account: Account, binaries: PostgresBinaries, directory: string): readonly Capability[] {
  const closed = [...foldersAbove(directory), ...foldersAbove(binaries.postgres)].find((folder) => !isOpenTo(account, folder, 0o1))
  const unreadable = [join(binaries.home, 'share'), join(binaries.home, 'lib')].find((folder) => !isOpenTo(account, folder, 0o5))
  const mayRun = isOpenTo(account, binaries.postgres, 0o5)
  if (closed === undefined && unreadable === undefined && mayRun) return []
  // Running a file that is closed to others (an install under umask 077) takes more than reading past folders.
  const wanted: readonly Capability[] = mayRun ? ['dac_read_search', 'dac_override'] : ['dac_override']
  const held = wanted.find(holds)
  if (held !== undefined) return mayRun || !holds('dac_read_search') ? [held] : ['dac_read_search', held]
  const obstacle = closed ?? unreadable ?? binaries.postgres
  throw new ConfigError(
    `PostgreSQL does not run as root, and ${obstacle} is closed to every other user. Open it (\`chmod o+x ${obstacle}\`), keep Tidemark and ` +
      `its data elsewhere (--data), or start it as a plain user.`,
    { obstacle },
  )
}

function isOpenTo(account: Account, path: string, bits: number): boolean {
  const { mode, uid, gid } = statSync(path)
  if (uid === account.uid) return ((mode >> 6) & bits) === bits
  return ((mode >> (gid === account.gid ? 3 : 0)) & bits) === bits
}

function* foldersAbove(path: string): Generator<string> {
  for (let folder = dirname(realpathSync(path)); ; folder = dirname(folder)) {
    yield folder
    if (folder === dirname(folder)) return
  }
}

function holds(capability: keyof typeof CAPABILITY_BITS): boolean {
  try {
    const held = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
    return ((BigInt(`0x${held}`) >> CAPABILITY_BITS[capability]) & 1n) === 1n
  } catch {
    return false
  }
}

function requireSetpriv(binaries: PostgresBinaries, directory: string): void {
  if (spawnSync('setpriv', ['--version'], { stdio: 'ignore' }).status === 0) return
  throw new ConfigError(
    `PostgreSQL does not run as root, and a folder above ${directory} or ${binaries.home} is closed to other users. The program setpriv, ` +
      `which gets it past, is missing: install it (\`apt-get install util-linux\`), or keep Tidemark in a folder that everyone may enter, ` +
      `or start it as a plain user.`,
    { directory },
  )
}

/** Gives a folder and all below it to `account`. */
export function giveTo(account: Account, path: string): void {
  if (lstatSync(path).isSymbolicLink()) return lchownSync(path, account.uid, account.gid)
  chownSync(path, account.uid, account.gid)
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) giveTo(account, join(path, name))
}
