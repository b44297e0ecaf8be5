import { join } from 'node:path'
import type { Command } from 'commander'
import { Option } from 'commander'
import { ConfigError, TidemarkError } from '#core/errors.ts'
import { listBatches, readPointer } from '#store/batches.ts'
import { readCommitted } from '#store/committed.ts'
import type { CommonOptions } from '../command.ts'
import type { EngineSet } from '../cluster-environment.ts'
import { chooseEngines, engineSets } from '../cluster-environment.ts'
import { folderOf, guarded, onEnvironment, withLayerOptions } from '../command.ts'
import { holdDataFolder } from '../data-folder.ts'
import { needsHistory, runLiveTraffic, writeHistory } from '../demo.ts'
import type { Environment } from '../environment.ts'
import { transactionsTopic } from '../environment.ts'
import { Progress, count, print } from '../output.ts'
import { sleep } from '../process-control.ts'
import { Supervisor } from '../supervisor.ts'
import { version } from '../version.ts'

const lookEveryMs = 200
const watchEveryMs = 2_000

type UpOptions = CommonOptions & { readonly port?: string; readonly engines: EngineSet; readonly demo: boolean; readonly rate: string }

export function addUp(program: Command): void {
  withLayerOptions(program.command('up'))
    .description('start everything: a shop with history and live traffic, the page and the API')
    .option('--port <port>', 'of the page and the API; the next free one if taken (default: 8080)')
    .option('--no-demo', 'an empty shop, for events of your own')
    .option('--rate <n>', 'live events a second', '50')
    .addOption(new Option('--engines <set>', 'the embedded ones, or the cluster that "tidemark engines up" started').choices(engineSets).default('embedded'))
    .addHelpText('after', '\nExamples:\n  ./tidemark up\n  ./tidemark up --no-demo --port 9000 --data /var/lib/tidemark\n  ./tidemark engines up --data cluster && ./tidemark up --engines cluster --data cluster')
    .action(async (options: UpOptions) => {
      await guarded(async () => chooseEngines(folderOf(options), options.engines))
      if (process.exitCode !== undefined) return
      await onEnvironment(options, 'up', async (environment, { signal }) => up(environment, options, signal))
      // Being stopped is how this command ends.
      if (process.exitCode === 130) process.exitCode = 0
    })
}

async function up(environment: Environment, options: UpOptions, signal: AbortSignal): Promise<void> {
  const { settings } = environment
  const rate = Number(options.rate)
  if (!(rate > 0 && rate <= 10_000)) throw new ConfigError(`--rate takes events a second, up to 10,000, not "${options.rate}".`)
  await using resources = new AsyncDisposableStack()
  await holdDataFolder(settings, resources)
  const quiet = options.quiet === true
  const say = (line: string): void => {
    if (!quiet) process.stderr.write(`${line}\n`)
  }
  say(`Tidemark ${version} · data in ${settings.dataDirectory}`)
  const log = await environment.log()
  await environment.lake()
  // From the beginning: a database that dies while a backlog is counted is as dead as any.
  const watch = new AbortController()
  const watching = watchDatabase(environment, AbortSignal.any([signal, watch.signal]), say)
  resources.defer(async () => {
    watch.abort()
    await watching
  })
  const layers = resources.use(new Supervisor({ logDirectory: join(settings.dataDirectory, 'logs'), dataDirectory: settings.dataDirectory, say }))
  say('starting the speed and serving layers …')
  const serving = layers.start('serve', ['serve', ...(options.port === undefined ? [] : ['--port', options.port])])
  const [, { url = '' }] = await Promise.all([layers.start('speed', ['speed']), serving])
  const wanted = options.port ?? String(settings.port)
  if (!url.endsWith(`:${wanted}`)) say(`  port ${wanted} is taken`)
  say(`  the page is at ${url}`)
  if (options.demo && (await needsHistory(settings, log))) {
    say('writing the history of a shop …')
    await writeHistory(settings, log, signal, quiet)
  }
  await whenCounted(environment, signal, quiet)
  if (signal.aborted) return
  await layers.start('batch', ['batch', 'work'])
  if (settings.searchUrl !== '') await layers.start('search', ['search', 'work'])
  const traffic = options.demo ? runLiveTraffic(settings, log, rate, signal, say) : Promise.resolve()
  await whenPublished(environment, signal, quiet)
  if (!signal.aborted) printLinks(url, options)
  if (!signal.aborted) {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  }
  say('\nstopping …')
  await traffic
}

/** Waits until the speed layer has counted what the log holds now. */
async function whenCounted(environment: Environment, signal: AbortSignal, quiet: boolean): Promise<void> {
  const log = await environment.log()
  const end = await whenThere(async () => (await log.bounds(transactionsTopic)).end, signal)
  if (end === null) return
  const all = [...end.values()].reduce((sum, offset) => sum + offset, 0)
  const progress = new Progress(quiet)
  for (;;) {
    const committed = await whenThere(() => readCommitted(environment.database.pool, transactionsTopic), signal)
    if (committed === null) return
    const left = [...end].reduce((sum, [partition, offset]) => sum + Math.max(0, offset - (committed.get(partition) ?? 0)), 0)
    if (left === 0 || signal.aborted) break
    progress.show(`  speed layer: ${count(all - left)} of ${count(all)} records counted`)
    await sleep(lookEveryMs, signal)
  }
  if (all > 0 && !signal.aborted) progress.done(`  speed layer: ${count(all)} records counted`)
}

/** Waits for the first batch; later ones come by night. */
async function whenPublished(environment: Environment, signal: AbortSignal, quiet: boolean): Promise<void> {
  const { pool } = environment.database
  const progress = new Progress(quiet)
  while (!signal.aborted) {
    const seen = await whenThere(async () => ({ pointer: await readPointer(pool), newest: (await listBatches(pool, 1))[0] }), signal)
    if (seen === null) return
    const { pointer, newest } = seen
    if (pointer.batch > 0 || pointer.pausedReason !== null) {
      progress.done(`  batch layer: batch ${pointer.batch} serves`)
      return
    }
    if (newest !== undefined && (newest.status === 'held' || newest.status === 'failed')) {
      progress.done(`  batch layer: batch ${newest.batch} is ${newest.status}: ${newest.message ?? ''} The figures stay exact through the speed layer.`)
      return
    }
    progress.show(`  batch layer: archiving, recomputing, cross-checking … ${progress.seconds.toFixed(0)} s`)
    await sleep(lookEveryMs, signal)
  }
}

/** Looks again while the database is away, which is watched over meanwhile; null when aborted. */
async function whenThere<T>(look: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
  while (!signal.aborted) {
    try {
      return await look()
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError && thrown.retryable)) throw thrown
    }
    await sleep(watchEveryMs, signal)
  }
  return null
}

/** A PostgreSQL of ours that died is started again; the layers find it at the same place. */
async function watchDatabase(environment: Environment, signal: AbortSignal, say: (line: string) => void): Promise<void> {
  while (!signal.aborted) {
    await sleep(watchEveryMs, signal)
    if (signal.aborted) return
    await environment.ensureDatabase().catch((thrown: unknown) => say(`PostgreSQL is away: ${String(thrown)}`))
  }
}

function printLinks(url: string, options: UpOptions): void {
  const flag = options.data === undefined ? '' : ` --data ${options.data}`
  print(`
Tidemark is up.
  page         ${url}/
  API          ${url}/v1/revenue?by=city   described by ${url}/openapi.json
  metrics      ${url}/metrics
  jobs         ${url}/jobs   what runs when: ./tidemark schedule list${flag}
  your events  ./tidemark ingest FILE${flag}
  figures      ./tidemark query revenue --by city,category${flag}
  next batch   ./tidemark batch run${flag}
Ctrl-C stops it; starting again goes on where it was.`)
}
