/** A layer's command as a process of its own, as people run it. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
/** Of what a process said, so much is kept to show. */
const saidMax = 50_000

export type LayerOptions = { readonly environment?: NodeJS.ProcessEnv; readonly nodeOptions?: readonly string[]; readonly detached?: boolean }

export class LayerProcess implements AsyncDisposable {
  readonly child: ChildProcess
  readonly #exit: Promise<{ code: number | null; signal: string | null }>
  #said = ''
  #printed = ''

  constructor(args: readonly string[], options: LayerOptions = {}) {
    this.child = spawn(process.execPath, [...(options.nodeOptions ?? []), main, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.environment },
      detached: options.detached === true,
    })
    this.#exit = once(this.child, 'exit').then(([code, signal]) => ({ code: code as number | null, signal: signal as string | null }))
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-saidMax)
        if (stream === this.child.stdout) this.#printed = (this.#printed + text).slice(-saidMax)
      })
    }
  }

  get pid(): number {
    return this.child.pid!
  }

  /** What it wrote to both of its outputs, the newest part. */
  get said(): string {
    return this.#said
  }

  /** Of its standard output alone, the newest part. */
  get printed(): string {
    return this.#printed
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  send(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Resolves to how it ended. */
  async ended(): Promise<{ code: number | null; signal: string | null }> {
    return this.#exit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) this.child.kill('SIGKILL')
    await this.#exit
  }
}
