/**
 * Keeps the layers running as processes of their own: one that dies is started again with growing pauses, and all stop together. They stand in their own
 * process groups, so that Ctrl-C reaches only us and they are stopped in order; if we are killed, they notice their parent's end and stop by themselves.
 */
import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { openSync, closeSync, statSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UnavailableError, messageOf } from '#core/errors.ts'
import { exitCodes } from './command.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
/** A layer's garbage is young; a small nursery halves its memory and costs no throughput (bench/memory.ts). */
const nodeFlags = ['--max-semi-space-size=8', '--disable-warning=TimeoutNegativeWarning']
const restartMinMs = 500
const restartMaxMs = 15_000
const restartConfigMs = 60_000
/** A layer that ran this long was well: its next restart is prompt again. */
const healthyAfterMs = 30_000
const readyWithinMs = 60_000
const stopWithinMs = 10_000
const logBytesMax = 20 * 1024 * 1024
/** What a machine lacks now and may have in a moment: processes, memory, open files, a program or folder that is being installed. */
const passingObstacles: ReadonlySet<unknown> = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'ENOENT'])
const obstacleFix = 'See how many processes and open files this user may have (ulimit -u, ulimit -n), and how much memory is free.'

export type Ready = { readonly ready: true; readonly url?: string }

export type SupervisorOptions = {
  readonly logDirectory: string
  readonly dataDirectory: string
  readonly say: (line: string) => void
}

export class Supervisor implements AsyncDisposable {
  readonly #options: SupervisorOptions
  readonly #layers: Layer[] = []

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Starts a layer and resolves once it says that it is ready; from then on it is kept running. */
  async start(name: string, args: readonly string[]): Promise<Ready> {
    const layer = new Layer(name, args, this.#options)
    this.#layers.push(layer)
    return layer.start()
  }

  get layers(): readonly { readonly name: string; readonly pid: number | undefined; readonly restarts: number }[] {
    return this.#layers.map(({ name, pid, restarts }) => ({ name, pid, restarts }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const layer of this.#layers.reverse()) await layer.stop()
  }
}

class Layer {
  readonly name: string
  readonly #args: readonly string[]
  readonly #options: SupervisorOptions
  #child: ChildProcess | null = null
  #stopping = false
  #restartMs = restartMinMs
  #timer: NodeJS.Timeout | null = null
  /** Why the last attempt gave no process; null where it gave one. */
  #obstacle: string | null = null
  /** Until the first child says that it is ready. */
  #startup: { resolve(ready: Ready): void; reject(): void } | null = null
  restarts = 0

  constructor(name: string, args: readonly string[], options: SupervisorOptions) {
    this.name = name
    this.#args = args
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  get #logFile(): string {
    return join(this.#options.logDirectory, `${this.name}.log`)
  }

  async start(): Promise<Ready> {
    const { promise, resolve, reject } = Promise.withResolvers<Ready>()
    const timer = setTimeout(() => this.#startup?.reject(), readyWithinMs)
    this.#startup = {
      resolve: (ready) => {
        this.#startup = null
        resolve(ready)
      },
      reject: () => {
        this.#startup = null
        this.#stopping = true
        reject(new UnavailableError(this.#obstacle === null ? `The ${this.name} layer did not start; ${this.#logFile} says why.` : `The ${this.name} layer cannot be started (${this.#obstacle}).`))
      },
    }
    this.#spawn()
    return promise.finally(() => clearTimeout(timer))
  }

  async stop(): Promise<void> {
    this.#stopping = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    const child = this.#child
    if (child === null || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
      // Nobody is left who could say that it is ready.
      this.#startup?.reject()
      return
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs)
      child.once('exit', () => {
        clearTimeout(timer)
        resolve()
      })
      child.kill('SIGTERM')
    })
  }

  #spawn(): void {
    const startedAt = performance.now()
    try {
      this.#child = this.#fork()
    } catch (thrown) {
      this.#tryAgain(startedAt, thrown)
      return
    }
    const child = this.#child
    child.once('spawn', () => (this.#obstacle = null))
    child.on('message', (message) => {
      if ((message as Partial<Ready>).ready === true) this.#startup?.resolve(message as Ready)
    })
    child.on('error', (error) => {
      // With an id it runs, and only did not take a signal.
      if (child.pid === undefined) this.#tryAgain(startedAt, error)
    })
    child.once('exit', (code, signal) => {
      // One that ends by itself before it was ready has said why, and would again; one that was killed is started again.
      if (signal === null) this.#startup?.reject()
      if (this.#stopping) return
      // What asks for other settings will ask for them again: seldom enough to cost nothing, and soon enough where they are put back.
      if (code === exitCodes.usage) this.#restartMs = restartConfigMs
      else this.#restartMs = pauseAfter(startedAt, this.#restartMs)
      this.#options.say(`The ${this.name} layer ended (${signal ?? code}); starting it again in ${this.#restartMs / 1000} s. ${this.#logFile} says why.`)
      this.#restartLater()
    })
  }

  #fork(): ChildProcess {
    rotate(this.#logFile)
    const log = openSync(this.#logFile, 'a')
    try {
      return fork(main, [...this.#args, '--data', this.#options.dataDirectory, '--quiet'], { stdio: ['ignore', log, log, 'ipc'], detached: true, execArgv: [...nodeFlags] })
    } finally {
      closeSync(log)
    }
  }

  /** No process came of it, so its log says nothing. */
  #tryAgain(startedAt: number, thrown: unknown): void {
    this.#child = null
    this.#obstacle = messageOf(thrown)
    if (!passingObstacles.has((thrown as { code?: unknown }).code)) this.#startup?.reject()
    if (this.#stopping) return
    this.#restartMs = pauseAfter(startedAt, this.#restartMs)
    this.#options.say(`The ${this.name} layer cannot be started (${this.#obstacle}); trying again in ${this.#restartMs / 1000} s. ${obstacleFix}`)
    this.#restartLater()
  }

  #restartLater(): void {
    this.#timer = setTimeout(() => {
      this.restarts++
      this.#spawn()
    }, this.#restartMs)
  }
}

/** Growing, and short again after one that ran well. */
function pauseAfter(startedAt: number, pauseMs: number): number {
  return performance.now() - startedAt > healthyAfterMs ? restartMinMs : Math.min(pauseMs * 2, restartMaxMs)
}

/** One file before the current one is kept. */
function rotate(file: string): void {
  try {
    if (statSync(file).size > logBytesMax) renameSync(file, `${file}.1`)
  } catch (thrown) {
    if ((thrown as { code?: string }).code !== 'ENOENT') throw thrown
  }
}
