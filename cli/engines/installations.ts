/**
 * Puts the engines' programs into the cache folder, by Maven. What is fetched is named in full, each file with its checksum: the jars in
 * hadoop/<engine>/jars.sha256, the archives in hadoop/cluster.json. A version is unpacked under another name and renamed when it is
 * whole, so that whatever interrupts it, the next call begins that step again and no call sees half of it. A changed checksum is another folder.
 */
import { createHash } from 'node:crypto'
import { accessSync, constants, createReadStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ConfigError, CorruptError, messageOf } from '#core/errors.ts'
import { takeLock } from './lock.ts'
import type { EngineName } from './cluster.ts'
import { cluster, readSharedFile, sharedFile } from './cluster.ts'
import { runToEnd } from './java-command.ts'
import type { Java } from './java.ts'

export type Fetching = {
  readonly cacheDirectory: string
  /** That Maven runs on. */
  readonly java: Java
  readonly say: (line: string) => void
  readonly progress: (line: string) => void
  readonly signal: AbortSignal
}

/** `hold`: keeps the cache's lock for a process as well, which goes on by itself when we are killed. */
type Building = Fetching & { readonly hold: (pid: number) => void }

type Archive = (typeof cluster.archives)[keyof typeof cluster.archives]

const mavenWithinMs = 30 * 60_000
const unpackWithinMs = 10 * 60_000
const lockWaitMs = 60 * 60_000
const lookEveryMs = 500
const megabyte = 1024 * 1024
/** Of Trino's 60 plugins, the one that reads the lake: the others are 1.8 GB. */
const trinoPlugins = ['hive']

/** The folder of the engine's programs in the cache, whether it is there or not; null of what the system brings. */
export function installationOf(engine: EngineName, cacheDirectory: string): string | null {
  switch (engine) {
    case 'kafka':
      return join(cacheDirectory, `kafka-${cluster.kafka.version}-${shortSum(readSharedFile('kafka/jars.sha256'))}`)
    case 'hdfs':
      return join(cacheDirectory, `hdfs-${cluster.namenode.version}-${shortSum(readSharedFile('hdfs/jars.sha256') + cluster.archives.hdfsPages.sha256)}`)
    case 'trino':
      return join(cacheDirectory, `trino-${cluster.trino.version}-${cluster.archives.trino.sha256.slice(0, 8)}`)
    case 'elasticsearch':
      return join(cacheDirectory, `elasticsearch-${cluster.elasticsearch.version}-${cluster.archives.elasticsearch.sha256.slice(0, 8)}`)
    case 'redis':
      return null
  }
}

export function isInstalled(engine: EngineName, cacheDirectory: string): boolean {
  const folder = installationOf(engine, cacheDirectory)
  return folder === null || existsSync(folder)
}

/** Fetches the engine unless it is there; returns its folder (empty for what the system brings). */
export async function install(engine: EngineName, fetching: Fetching): Promise<string> {
  const folder = installationOf(engine, fetching.cacheDirectory)
  if (folder === null) return ''
  if (existsSync(folder)) return folder
  makeCache(fetching.cacheDirectory)
  const lock = await takeLock(join(fetching.cacheDirectory, 'lock'), {
    waitMs: lockWaitMs,
    signal: fetching.signal,
    onWait: (holder) => fetching.say(`  process ${holder} is fetching engines into the same folder; waiting for it`),
  })
  try {
    if (existsSync(folder)) return folder
    const draft = `${folder}.draft`
    rmSync(draft, { recursive: true, force: true })
    mkdirSync(draft)
    const startedAt = performance.now()
    await builders[engine](draft, { ...fetching, hold: lock.addHolder })
    renameSync(draft, folder)
    fetching.say(`  ${basename(folder)} fetched and verified, ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
    return folder
  } finally {
    lock.release()
  }
}

function makeCache(cacheDirectory: string): void {
  try {
    mkdirSync(cacheDirectory, { recursive: true })
    // Also where it is there already, but another user's.
    accessSync(cacheDirectory, constants.W_OK | constants.X_OK)
  } catch (thrown) {
    const message = `The engines' programs cannot be kept in ${cacheDirectory} (${messageOf(thrown)}): choose a folder of yours by --cache or TIDEMARK_ENGINES_CACHE.`
    throw new ConfigError(message, {}, thrown)
  }
}

const builders: Readonly<Record<EngineName, (draft: string, fetching: Building) => Promise<void>>> = {
  kafka: (draft, fetching) => fetchJars('kafka', join(draft, 'libs'), fetching),
  hdfs: async (draft, fetching) => {
    await fetchJars('hdfs', join(draft, 'libs'), fetching)
    const pages = join(draft, 'pages')
    await unpackZip(cluster.archives.hdfsPages, pages, fetching, ['-Dmdep.unpack.includes=webapps/**'])
  },
  trino: async (draft, fetching) => {
    const archive = await fetchArchive(cluster.archives.trino, fetching)
    fetching.progress('  unpacking Trino …')
    // All of it: its plugins are hard links to each other's files.
    await runToEnd({ file: 'tar', args: ['-xzf', archive, '-C', draft, '--strip-components=1', '--no-same-owner'], environment: {} }, {
      what: 'unpacking Trino',
      withinMs: unpackWithinMs,
      signal: fetching.signal,
      environment: process.env,
      onStart: fetching.hold,
    })
    for (const name of readdirSync(join(draft, 'plugin'))) if (!trinoPlugins.includes(name)) rmSync(join(draft, 'plugin', name), { recursive: true })
    rmSync(dirname(archive), { recursive: true, force: true })
  },
  elasticsearch: async (draft, fetching) => {
    await unpackZip(cluster.archives.elasticsearch, draft, fetching, [])
    const inner = join(draft, `elasticsearch-${cluster.elasticsearch.version}`)
    for (const name of readdirSync(inner)) renameSync(join(inner, name), join(draft, name))
    rmSync(inner, { recursive: true })
  },
  redis: () => Promise.resolve(),
}

async function fetchJars(engine: 'kafka' | 'hdfs', into: string, fetching: Building): Promise<void> {
  const goal = `${cluster.maven.dependencyPlugin}:copy-dependencies`
  // Strict: a jar that differs from the registry's own checksum fails here already.
  await maven(['-C', '-f', sharedFile(`${engine}/pom.xml`), goal, '-DincludeScope=runtime', `-DoutputDirectory=${into}`], `fetching ${engine}`, fetching)
  await verifyJars(into, readSharedFile(`${engine}/jars.sha256`))
}

/** Throws CorruptError unless the folder holds exactly the files of `sums` (lines as of sha256sum). */
export async function verifyJars(folder: string, sums: string): Promise<void> {
  const wanted = new Map(sums.trim().split('\n').map((line) => [line.slice(66), line.slice(0, 64)] as const))
  const present = readdirSync(folder)
  const missing = [...wanted.keys()].filter((name) => !present.includes(name))
  const unknown = present.filter((name) => !wanted.has(name))
  if (missing.length > 0 || unknown.length > 0) throw new CorruptError(`What was fetched is not what is pinned: missing ${list(missing)}; not known ${list(unknown)}.`)
  for (const [name, sum] of wanted) await verifyFile(join(folder, name), sum)
}

export async function verifyFile(file: string, sum: string): Promise<void> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file, { highWaterMark: megabyte })) hash.update(chunk as Buffer)
  const found = hash.digest('hex')
  if (found !== sum) throw new CorruptError(`${file} has the checksum ${found}, and ${sum} is pinned: it is not the file that Tidemark was tried with.`, { file })
}

async function unpackZip(archive: Archive, into: string, fetching: Building, options: readonly string[]): Promise<void> {
  const file = await fetchArchive(archive, fetching)
  // By Maven as well, since neither Node nor every system unpacks zip files. Offline: it takes the file that was verified.
  const goal = `${cluster.maven.dependencyPlugin}:unpack`
  await maven(['-o', goal, `-Dartifact=${archive.artifact}`, `-DoutputDirectory=${into}`, ...options], `unpacking ${basename(file)}`, fetching)
  rmSync(dirname(file), { recursive: true, force: true })
}

/** Fetches into Maven's folder in the cache and verifies; a file that fails is removed, so that the next call fetches it anew. */
async function fetchArchive(archive: Archive, fetching: Building): Promise<string> {
  const file = join(mavenFolder(fetching.cacheDirectory), archive.file)
  const goal = `${cluster.maven.dependencyPlugin}:get`
  await maven([goal, '-Dtransitive=false', `-Dartifact=${archive.artifact}`], `fetching ${basename(file)}`, fetching)
  try {
    await verifyFile(file, archive.sha256)
  } catch (thrown) {
    rmSync(dirname(file), { recursive: true, force: true })
    throw thrown
  }
  return file
}

async function maven(args: readonly string[], what: string, fetching: Building): Promise<void> {
  const repository = mavenFolder(fetching.cacheDirectory)
  // Where it keeps notes of what it has unpacked: these must not outlive the call, or it would not unpack the same again. One at a time, by the lock.
  const scratch = join(fetching.cacheDirectory, 'maven.draft')
  rmSync(scratch, { recursive: true, force: true })
  mkdirSync(scratch)
  const command = { file: 'mvn', args: ['-B', '-q', `-Dmaven.repo.local=${repository}`, ...args], cwd: scratch, environment: {} }
  const before = bytesBelow(repository)
  fetching.progress(`  ${what} …`)
  const timer = setInterval(() => {
    const megabytes = Math.round((bytesBelow(repository) - before) / megabyte)
    fetching.progress(megabytes > 0 ? `  ${what}: ${megabytes} MB` : `  ${what} …`)
  }, lookEveryMs)
  try {
    // With the whole environment: proxies and settings of Maven's own are the user's to choose.
    await runToEnd(command, { what, withinMs: mavenWithinMs, signal: fetching.signal, environment: { ...process.env, JAVA_HOME: fetching.java.home }, onStart: fetching.hold })
  } finally {
    clearInterval(timer)
    rmSync(scratch, { recursive: true, force: true })
  }
}

function mavenFolder(cacheDirectory: string): string {
  return join(cacheDirectory, 'maven')
}

function bytesBelow(folder: string): number {
  if (!existsSync(folder)) return 0
  let bytes = 0
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0
  }
  return bytes
}

function shortSum(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'nothing' : names.join(', ')
}

/** Throws unless Maven is there to fetch with. */
export async function requireMaven(signal: AbortSignal): Promise<void> {
  try {
    await runToEnd({ file: 'mvn', args: ['-v'], environment: {} }, { what: 'looking for Maven', withinMs: 60_000, signal, environment: process.env })
  } catch (thrown) {
    if (signal.aborted) throw thrown
    throw new ConfigError('The engines are fetched by Maven, which is not installed here: `apt-get install maven`, or https://maven.apache.org/', {}, thrown)
  }
}
