/** Listening: on this machine only, on the port asked for or the next free one. */
import type { FastifyInstance } from 'fastify'
import { ConfigError } from '#core/errors.ts'
import { portTriesMax } from './limits.ts'
import type { ServerOptions } from './server.ts'
import { buildServer } from './server.ts'

/** Nothing listens beyond this machine unless told to. */
const ownHost = '127.0.0.1'

export type RunningServer = { readonly url: string; readonly port: number; readonly app: FastifyInstance } & AsyncDisposable

/** `port` 0 takes any free one. Throws ConfigError where the port and those after it are taken. */
export async function startServing(options: ServerOptions & { readonly port: number; readonly host?: string }): Promise<RunningServer> {
  const host = options.host ?? ownHost
  const app = await buildServer(options)
  try {
    const port = await listen(app, host, options.port)
    return { url: `http://${host}:${port}`, port, app, [Symbol.asyncDispose]: () => app.close() }
  } catch (thrown) {
    await app.close()
    throw thrown
  }
}

async function listen(app: FastifyInstance, host: string, wanted: number): Promise<number> {
  await app.ready()
  for (let tries = 0; tries < portTriesMax && wanted + tries <= 65_535; tries++) {
    try {
      await app.listen({ host, port: wanted + tries })
      return (app.server.address() as { port: number }).port
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== 'EADDRINUSE') throw thrown
    }
  }
  throw new ConfigError(`Ports ${wanted} to ${wanted + portTriesMax - 1} of ${host} are all taken. Name a free one with --port.`, { port: wanted })
}
