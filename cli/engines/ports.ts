/** Which ports the engines listen to: the usual ones, the ones that they had, or the next that are free. */
import { createServer } from 'node:net'
import { UnavailableError } from '#core/errors.ts'

const portMax = 65_535
const triesMax = 500
/** Below the ports that systems give to outgoing connections, so that none of these is in the way later. */
const anyFrom = 20_000
const anyTo = 32_000
const releaseWithinMs = 3_000
const lookEveryMs = 50

export async function isPortFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = createServer()
  server.once('error', () => resolve(false))
  server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)))
  return promise
}

/** Whether the port gets free within a few seconds: a killed server's threads hold it for a moment after its process counts as ended. */
export async function becomesFree(port: number): Promise<boolean> {
  const deadline = performance.now() + releaseWithinMs
  while (!(await isPortFree(port))) {
    if (performance.now() >= deadline) return false
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs))
  }
  return true
}

/** Hands out ports of which none is taken by another program, nor given out twice. */
export class PortChooser {
  readonly #given: Set<number>

  /** `reserved`: of processes that run, or that keep their ports for the next start. */
  constructor(reserved: Iterable<number> = []) {
    this.#given = new Set(reserved)
  }

  /** `wanted`, or the next free one above it. */
  async next(wanted: number): Promise<number> {
    for (let port = wanted; port <= portMax && port < wanted + triesMax; port++) {
      if (await this.#take(port)) return port
    }
    throw new UnavailableError(`No port from ${wanted} to ${Math.min(portMax, wanted + triesMax)} is free: end some of the programs that listen there.`)
  }

  /** Any free one. */
  async any(): Promise<number> {
    for (let tries = 0; tries < triesMax; tries++) {
      const port = anyFrom + Math.floor(Math.random() * (anyTo - anyFrom))
      if (await this.#take(port)) return port
    }
    throw new UnavailableError(`${triesMax} tries found no free port from ${anyFrom} to ${anyTo}: end some of the programs that listen there.`)
  }

  async #take(port: number): Promise<boolean> {
    if (this.#given.has(port) || !(await isPortFree(port))) return false
    this.#given.add(port)
    return true
  }
}
