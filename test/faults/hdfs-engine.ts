/** A NameNode and a DataNode of a test's own, whose processes it kills, stops and commands; the engines that tests share are left alone. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDirectoryOf } from '#cli/engines/cache-directory.ts'
import { startEngines } from '#cli/engines/starter.ts'
import { engineStatus } from '#cli/engines/status.ts'
import { killProcess, stopEngines } from '#cli/engines/stop.ts'

export type HdfsProcess = 'namenode' | 'datanode-1'

export class OwnHdfs implements AsyncDisposable {
  readonly #dataDirectory: string

  private constructor(dataDirectory: string) {
    this.#dataDirectory = dataDirectory
  }

  static async open(): Promise<OwnHdfs> {
    const hdfs = new OwnHdfs(mkdtempSync(join(tmpdir(), 'tidemark-hdfs-')))
    await hdfs.start()
    return hdfs
  }

  /** Starts what does not run; returns when it is ready. */
  async start(): Promise<void> {
    await startEngines({ names: ['hdfs'], cacheDirectory: cacheDirectoryOf(process.env), dataDirectory: this.#dataDirectory, basePorts: 'free' })
  }

  /** `host:port` of the NameNode's web server. */
  get nameNode(): string {
    return `127.0.0.1:${this.#ports('namenode')['http']}`
  }

  kill(name: HdfsProcess): Promise<void> {
    return killProcess(this.#dataDirectory, name)
  }

  signal(name: HdfsProcess, signal: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.#pid(name), signal)
  }

  /** `hdfs dfsadmin …`, as the superuser, by the NameNode's own programs. */
  async admin(...args: readonly string[]): Promise<string> {
    const command = readFileSync(`/proc/${this.#pid('namenode')}/cmdline`, 'utf8').split('\0')
    const classPath = command[command.indexOf('-cp') + 1]!
    const file = `hdfs://127.0.0.1:${this.#ports('namenode')['rpc']}`
    const { stdout } = await promisify(execFile)(command[0]!, ['-Xmx128m', '-cp', classPath, 'org.apache.hadoop.hdfs.tools.DFSAdmin', '-fs', file, ...args], {
      env: { ...process.env, HADOOP_USER_NAME: 'hdfs' },
      timeout: 60_000,
    })
    return stdout
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { name, pid } of engineStatus(this.#dataDirectory)) if (pid !== null) this.signal(name as HdfsProcess, 'SIGCONT')
    await stopEngines(this.#dataDirectory)
    rmSync(this.#dataDirectory, { recursive: true, force: true, maxRetries: 5 })
  }

  #pid(name: HdfsProcess): number {
    const pid = engineStatus(this.#dataDirectory).find((process) => process.name === name)?.pid
    if (pid === null || pid === undefined) throw new Error(`${name} does not run`)
    return pid
  }

  #ports(name: HdfsProcess): Readonly<Record<string, number>> {
    return engineStatus(this.#dataDirectory).find((process) => process.name === name)!.ports
  }
}
