import type { Command } from 'commander'
import { ConfigError } from '#core/errors.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withLayerOptions } from '../command.ts'
import { openLogger } from '../logger.ts'
import { print } from '../output.ts'
import { version } from '../version.ts'

export function addServe(program: Command): void {
  withLayerOptions(program.command('serve'))
    .description('run the serving layer: the API, live events and the page, until stopped')
    .option('--port <port>', 'the next free one if taken (default: 8080, or TIDEMARK_PORT)')
    .addHelpText('after', '\nExample:\n  ./tidemark serve --port 9000')
    .action(async (options: CommonOptions & { port?: string }) => {
      await onEnvironment(options, 'serve', async (environment, { signal }) => {
        // Only this command pays for loading the server.
        const [{ startServing }, { buildDashboard }, { jobBoard }] = await Promise.all([import('#serving/start.ts'), import('#serving/dashboard/build.ts'), import('../job-queues.ts')])
        const { settings, database } = environment
        const { zone, currency, booksOpenOn, ledgerIdsMax, reportGraceMinutes } = settings
        await buildDashboard()
        await using server = await startServing({
          database,
          settings: { zone, currency, booksOpenOn, version, ledgerIdsMax, reportGraceMs: reportGraceMinutes * 60_000 },
          clock: Date.now,
          logger: openLogger('serve', settings.logLevel),
          log: await environment.log(),
          jobBoard: jobBoard(environment),
          lake: await environment.lake(),
          host: settings.host,
          port: portOf(options.port, settings.port),
        })
        if (options.quiet !== true) print(`The page and the API are at ${server.url}/`)
        process.send?.({ ready: true, url: server.url })
        await new Promise<void>((resolve) => {
          if (signal.aborted) resolve()
          else signal.addEventListener('abort', () => resolve(), { once: true })
        })
      })
      if (process.exitCode === 130) process.exitCode = 0
    })
}

export function portOf(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw new ConfigError(`--port takes a port from 1 to 65535, not "${text}".`)
  return port
}
