/** Flink SQL in a JVM of its own (bench/flink), fetched and built by Maven into the engines' cache. It stays up between runs, so that its later ones are warm. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { requireMaven } from '#cli/engines/installations.ts'
import { findJavas, requireJava } from '#cli/engines/java.ts'
import { runToEnd } from '#cli/engines/java-command.ts'
import { messageOf } from '#core/errors.ts'
import { peakMiBOf } from './cpu-time.ts'
import { cacheDirectory } from './kafka-cluster.ts'

const pom = fileURLToPath(new URL('./flink/pom.xml', import.meta.url))
const source = fileURLToPath(new URL('./flink/src/main/java/FlinkPeer.java', import.meta.url))
const copyDependencies = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'
const buildWithinMs = 30 * 60_000
const javaMin = 17

/** Flink looks into these of Java's own packages. */
const opened = ['lang', 'net', 'io', 'nio', 'lang.reflect', 'text', 'time', 'util', 'util.concurrent', 'util.concurrent.atomic'].map((name) => `--add-opens=java.base/java.${name}=ALL-UNNAMED`)
/** With 1 GB, and four times as many records per poll, a million ids and four views collected garbage for longer than they counted. */
const javaFlags = [
  '-Xms1g',
  '-Xmx2g',
  ...opened,
  '--add-opens=java.base/sun.nio.ch=ALL-UNNAMED',
  '--add-exports=java.base/sun.net.util=ALL-UNNAMED',
  '--add-exports=java.management/sun.management=ALL-UNNAMED',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
]

export async function missingForFlink(): Promise<string | null> {
  try {
    requireJava(findJavas(), javaMin, 'Flink')
    if (!existsSync(buildFolder())) await requireMaven(new AbortController().signal)
    return null
  } catch (thrown) {
    return messageOf(thrown)
  }
}

function buildFolder(): string {
  const sum = createHash('sha256').update(readFileSync(pom)).update(readFileSync(source)).digest('hex').slice(0, 8)
  return join(cacheDirectory, `bench-flink-${sum}`)
}

async function build(javaHome: string): Promise<string> {
  const folder = buildFolder()
  if (existsSync(folder)) return folder
  const draft = `${folder}.draft`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { recursive: true })
  const args = ['-B', '-q', `-Dmaven.repo.local=${join(cacheDirectory, 'maven')}`, '-f', pom, `-DbuildDirectory=${draft}`, 'compile', copyDependencies, '-DincludeScope=runtime', `-DoutputDirectory=${join(draft, 'libs')}`]
  const limits = { what: 'building the Flink peer', withinMs: buildWithinMs, signal: new AbortController().signal, environment: { ...process.env, JAVA_HOME: javaHome } }
  await runToEnd({ file: 'mvn', args, cwd: draft, environment: {} }, limits)
  renameSync(draft, folder)
  return folder
}

export type FlinkOptions = { readonly brokers: string; readonly topic: string; readonly databaseUrl: string; readonly folder: string }

export class FlinkPeer implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcess) {
    this.#process = child
    // Of one that ended, its closed output tells.
    child.stdin!.on('error', () => undefined)
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  static async open({ brokers, topic, databaseUrl, folder }: FlinkOptions): Promise<FlinkPeer> {
    const java = requireJava(findJavas(), javaMin, 'Flink')
    const built = await build(java.home)
    const { hostname, port, pathname, username, password } = new URL(databaseUrl)
    // Recommended by both: several rows in one statement.
    const jdbc = `jdbc:postgresql://${hostname}:${port}${pathname}?reWriteBatchedInserts=true`
    const classPath = [join(built, 'classes'), join(built, 'libs', '*')].join(':')
    const args = [...javaFlags, '-cp', classPath, 'FlinkPeer', brokers, topic, jdbc, decodeURIComponent(username), decodeURIComponent(password), folder]
    const child = spawn(join(java.home, 'bin', 'java'), args, { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] })
    const peer = new FlinkPeer(child)
    await peer.#expect('ready')
    return peer
  }

  /** Counts the whole topic into tables of a schema, which must be there. Resolves to seconds, from the job's submission on. */
  async count(schema: string, views: readonly string[]): Promise<number> {
    this.#process.stdin!.write(`run ${schema} ${views.join(' ')}\n`)
    return Number(await this.#expect('done'))
  }

  get pid(): number {
    return this.#process.pid!
  }

  get peakMiB(): number {
    return peakMiBOf(this.pid)
  }

  async #expect(word: string): Promise<string> {
    for (;;) {
      const next = await this.#lines.next()
      if (next.done === true) throw new Error('Flink ended')
      const [first, ...rest] = next.value.split(' ')
      if (first === word) return rest.join(' ')
      if (first === 'failed') throw new Error(`Flink failed: ${rest.join(' ')}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.stdin!.end('end\n')
    await ended
  }
}
