/** A shop in a folder of its own, run by the command line, killed in parts and asked by the command line whether its figures are right. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openEmbeddedPostgres } from '#engines/embedded-postgres.ts'
import { truthText } from '#generator/truth.ts'
import { readCommitted } from '#store/committed.ts'
import { openDatabase } from '#store/database.ts'
import { LayerProcess } from '#test/faults/layer-process.ts'
import type { Random } from '#test/lab/random.ts'
import { waitUntil } from '#test/wait-until.ts'
import type { ListedProcess } from './process-tree.ts'
import { killAll, listProcesses, treeOf } from './process-tree.ts'
import type { StubbornProducer } from './stubborn-producer.ts'

const topic = 'transactions'
/** From a kill to the first record counted afterwards: PostgreSQL's recovery, the layers' start, leases of the dead. */
const backWithinMs = 60_000
/** Of a command whose dependency was away. */
const unavailableCode = 4
export const victims = ['speed', 'serve', 'batch', 'ours', 'postgres', 'all'] as const
/** Of a shop on the cluster there is one layer more. */
export type Victim = (typeof victims)[number] | 'search'

export class KilledShop implements AsyncDisposable {
  readonly random: Random
  readonly #data: string
  readonly #port: number
  readonly #environment: NodeJS.ProcessEnv = { TIDEMARK_FLUSH_MS: '60', LOG_LEVEL: 'warn' }
  readonly #engines: 'embedded' | 'cluster'
  readonly #batches: LayerProcess[] = []
  #url: string | null = null
  #up: LayerProcess | null = null

  constructor(data: string, port: number, random: Random, engines: 'embedded' | 'cluster' = 'embedded') {
    this.#engines = engines
    this.#data = data
    this.#port = port
    this.random = random
  }

  async start(): Promise<void> {
    this.#up = this.#command('up', '--no-demo', '--engines', this.#engines, '--port', String(this.#port))
    // A first start waits for the page; later ones are watched by what they count.
    if (this.#url === null) await waitUntil('the shop to be up', () => this.#up!.said.includes('Tidemark is up') || this.#ended(), 120_000)
  }

  #ended(): never | false {
    if (this.#up!.hasEnded) throw new Error(`up ended: ${this.#up!.said}`)
    return false
  }

  /** A start that lost its database before its layers stood ends, and says that it may be tried again; so does a person. */
  async #startAgainWhereEnded(): Promise<void> {
    if (!this.#up!.hasEnded) return
    const { code } = await this.#up!.ended()
    if (code !== unavailableCode) this.#ended()
    process.stdout.write(`kill -9: up could not start and is started again: ${this.#up!.said.trim().split('\n').at(-1)}\n`)
    await this.start()
  }

  /** Joined once, while it runs, for its address; the test never starts it. */
  async databaseUrl(): Promise<string> {
    if (this.#url === null) {
      await using joined = await openEmbeddedPostgres({ dataDirectory: this.#data })
      assert.equal(joined.owner, false)
      this.#url = joined.url
    }
    return this.#url
  }

  /** As the server's own file says, also after it was started again. */
  databasePort(): number | null {
    return this.#serverFile()[3] ?? null
  }

  #serverFile(): number[] {
    try {
      return readFileSync(join(this.#data, 'postgres', 'postmaster.pid'), 'utf8').split('\n').map(Number)
    } catch {
      return []
    }
  }

  startBatch(): void {
    this.#batches.push(this.#command('batch', 'run', '--quiet'))
  }

  /** Resolves to how many processes were ended. */
  async kill(victim: Victim): Promise<number> {
    // A layer that was killed a moment ago may still wait for its next start.
    const processes = await waitUntil(
      `${victim} to run`,
      async () => {
        const listed = await listProcesses()
        const isThere = victim === 'ours' || victim === 'postgres' || victim === 'all' || layer(treeOf(this.#up!.pid, listed), victim).length > 0
        return isThere && this.databasePort() !== null ? listed : null
      },
      backWithinMs,
    )
    const up = treeOf(this.#up!.pid, processes)
    const batches = this.#batches.splice(0).filter((batch) => !batch.hasEnded)
    const [serverPid] = this.#serverFile()
    const server = treeOf(serverPid!, processes)
    assert.ok(server.length > 1, 'PostgreSQL has processes of its own')
    // Whoever started PostgreSQL is its parent, and still it is a group of its own.
    const ours = [...up, ...batches.flatMap((batch) => treeOf(batch.pid, processes))].filter(({ pid }) => !server.some((other) => other.pid === pid))
    const chosen: Readonly<Record<Victim, readonly ListedProcess[]>> = {
      speed: layer(up, 'speed'),
      serve: layer(up, 'serve'),
      search: layer(up, 'search'),
      batch: [...layer(up, 'batch'), ...batches.flatMap((batch) => treeOf(batch.pid, processes))],
      ours,
      postgres: server,
      all: [...ours, ...server],
    }
    const isStarted = victim === 'ours' || victim === 'all'
    // A run that was not chosen goes on; it is waited for when the shop is stopped.
    if (!isStarted && victim !== 'batch') this.#batches.push(...batches)
    const killed = killAll(chosen[victim])
    if (isStarted) {
      await this.#up!.ended()
      await this.start()
    }
    return killed
  }

  /** Waits until the log takes records again and the speed layer has counted some that came after this moment. */
  async whenBack(producer: StubbornProducer): Promise<void> {
    const before = producer.acknowledged
    await waitUntil(
      'the log to acknowledge',
      async () => {
        await this.#startAgainWhereEnded()
        return producer.failure !== null || producer.acknowledged > before
      },
      backWithinMs,
    ).catch((thrown: unknown) => {
      throw new Error(`${String(thrown)}\n${this.#up!.said}`, { cause: thrown })
    })
    await this.whenCountedPast(producer.ends(), producer)
  }

  /** Waits until the speed layer has counted up to there. */
  async whenCountedPast(ends: ReadonlyMap<number, number>, producer: StubbornProducer): Promise<void> {
    await waitUntil(
      'the speed layer to count again',
      async () => {
        await this.#startAgainWhereEnded()
        if (producer.failure !== null) throw new Error('the producer failed', { cause: producer.failure })
        const port = this.databasePort()
        if (port === null) return false
        const url = new URL(await this.databaseUrl())
        url.port = String(port)
        await using database = openDatabase({ url: url.href, connectionsMax: 1 })
        const committed = await readCommitted(database.pool, topic).catch(() => null)
        return committed !== null && [...ends].every(([partition, end]) => (committed.get(partition) ?? 0) >= end)
      },
      backWithinMs,
    ).catch((thrown: unknown) => {
      throw new Error(`${String(thrown)}\n${this.#up!.said}`, { cause: thrown })
    })
  }

  /** `tidemark verify`, as a person would ask it. */
  async verify(producer: StubbornProducer): Promise<void> {
    await this.whenCountedPast(producer.ends(), producer)
    const file = join(this.#data, 'truth.json')
    await writeFile(file, truthText(producer.truth.toFile()))
    await using verify = this.#command('verify', '--truth', file, '--json')
    const { code } = await verify.ended()
    assert.equal(code, 0, verify.said)
    assert.equal((JSON.parse(verify.printed) as { differences: number }).differences, 0)
  }

  async runBatch(): Promise<void> {
    await using batch = this.#command('batch', 'run', '--json', '--quiet')
    const { code } = await batch.ended()
    assert.equal(code, 0, batch.said)
    await using list = this.#command('batch', 'list', '--json')
    await list.ended()
    const { batches } = JSON.parse(list.printed) as { batches: { status: string }[] }
    assert.deepEqual(
      batches.filter(({ status }) => status === 'held' || status === 'running'),
      [],
    )
  }

  /** A command of the shop's folder, as a person would give it. Resolves to what it printed; throws where it failed. */
  async ask(...args: string[]): Promise<string> {
    await using command = this.#command(...args)
    const { code } = await command.ended()
    assert.equal(code, 0, command.said)
    return command.printed
  }

  async stop(): Promise<{ code: number | null; signal: string | null }> {
    for (const batch of this.#batches.splice(0)) await batch.ended()
    this.#up!.send('SIGTERM')
    return this.#up!.ended()
  }

  #command(...args: string[]): LayerProcess {
    return new LayerProcess([...args, '--data', this.#data], { environment: this.#environment })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#up === null || this.#up.hasEnded) return
    const processes = await listProcesses()
    const [serverPid] = this.#serverFile()
    killAll([...treeOf(this.#up.pid, processes), ...this.#batches.flatMap((batch) => treeOf(batch.pid, processes)), ...(serverPid === undefined ? [] : treeOf(serverPid, processes))])
    await this.#up.ended()
  }
}

/** The children of `up` that run this layer. */
function layer(up: readonly ListedProcess[], name: string): ListedProcess[] {
  return up.filter(({ command }) => command.includes(`main.ts ${name} `))
}
