import type { Command } from 'commander'
import { ConfigError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import { firstSaleMonth, keepMonthsDefault } from '#speed/search-sales.ts'
import { verifySearch } from '#speed/search-verify.ts'
import type { SearchKind } from '#store/search-indices.ts'
import { aliasOf, listRejects, searchKinds } from '#store/search-indices.ts'
import { readSearchStatus } from '#store/search-status.ts'
import type { CommonOptions } from '../command.ts'
import { exitCodes, guarded, onEnvironment, settingsOf, withCommonOptions, withLayerOptions } from '../command.ts'
import type { Environment } from '../environment.ts'
import { openLogger } from '../logger.ts'
import { Progress, count, print, printJson, printTable } from '../output.ts'
import { rebuildSearch, runSearchLayer, searchPrefix } from '../search-layer.ts'

const rejectsShown = 20

export function addSearch(program: Command): void {
  const search = program.command('search').description('the search index that follows the figures (SEARCH_URL)')
  withLayerOptions(search.command('work'))
    .description('run the follower: figures and sales → Elasticsearch, until stopped; a second one waits for the first')
    .addHelpText('after', '\nExample:\n  SEARCH_URL=http://127.0.0.1:9200 ./tidemark search work')
    .action(async (options: CommonOptions) => {
      await onSearch(options, 'search', async (environment, { signal }) => {
        await environment.search()
        const running = runSearchLayer(environment, openLogger('search', environment.settings.logLevel), signal)
        process.send?.({ ready: true })
        await running
      })
      // Stopping is what a layer is told to do, not a failure.
      if (process.exitCode === exitCodes.interrupted) process.exitCode = 0
    })
  withCommonOptions(search.command('status'))
    .description('where the follower stands: lag, documents of each index, what was refused')
    .addHelpText('after', '\nExample:\n  ./tidemark search status --json')
    .action(async (options: CommonOptions) => onSearch(options, 'search status', (environment) => showStatus(environment, options)))
  withCommonOptions(search.command('verify'))
    .description('compare every document with the figures, measure by measure')
    .addHelpText('after', '\nExample:\n  ./tidemark search verify\n\nExits with 3 on a difference of one penny.')
    .action(async (options: CommonOptions) => onSearch(options, 'search verify', (environment, { signal }) => verify(environment, options, signal)))
  withCommonOptions(search.command('rebuild'))
    .argument('[kind...]', `${searchKinds.join(', ')} or all`, ['all'])
    .description('build indices anew from PostgreSQL, and the sales from log and lake; the old ones serve until the new ones are whole')
    .addHelpText('after', '\nExample:\n  ./tidemark search rebuild revenue')
    .action(async (kinds: string[], options: CommonOptions) => onSearch(options, 'search rebuild', (environment, { signal }) => rebuild(environment, kinds, options, signal)))
}

/** Says that there is none before it opens anything. */
async function onSearch(options: CommonOptions, name: string, work: Parameters<typeof onEnvironment>[2]): Promise<void> {
  await guarded(async () => {
    if (settingsOf(options).searchUrl === '') throw new ConfigError('There is no search index: SEARCH_URL is empty. Give it http://host:9200, where an Elasticsearch 9 is.')
    await onEnvironment(options, name, work)
  })
}

async function showStatus(environment: Environment, options: CommonOptions): Promise<void> {
  const search = await environment.search()
  const { pool } = environment.database
  const status = await readSearchStatus(pool)
  const rejects = await listRejects(pool, rejectsShown)
  const documents = await countDocuments(environment)
  const names = await search.list(`${searchPrefix(environment)}-*`)
  if (options.json === true) return printJson({ follower: status, documents: Object.fromEntries(documents), indices: names, rejects })
  if (status === null) return print('Nothing was followed yet: "tidemark search work" begins.')
  const lag = status.lagSeconds < 60 ? `${status.lagSeconds.toFixed(1)} s` : `${count(Math.round(status.lagSeconds / 60))} min`
  print(`figures complete up to ${lag} ago (transaction ${status.position}, ${count(status.lagTransactions)} behind); sales ${count(status.salesBehind)} records behind; read number ${count(status.readNumber)}`)
  print('')
  printTable(
    ['index', 'state', 'documents', 'months left'],
    status.indices.map((index) => [index.name, index.state, index.state === 'serving' ? count(documents.get(index.kind) ?? 0) : '', index.monthsLeft === 0 ? '' : `${index.monthsLeft} of ${index.monthsDue}`]),
    2,
  )
  if (status.monthsResent > 0) print(`\n${count(status.monthsResent)} months differed from the figures and were sent again.`)
  if (status.rejects > 0) print(`\nELASTICSEARCH REFUSED ${count(status.rejects)} documents for good:`)
  for (const reject of rejects) print(`  ${reject.index} ${reject.id}: ${reject.reason}`)
}

async function countDocuments(environment: Environment): Promise<Map<SearchKind, number>> {
  const search = await environment.search()
  const counts = new Map<SearchKind, number>()
  for (const kind of searchKinds) {
    let documents = 0
    for (const index of await search.pointed(aliasOf(searchPrefix(environment), kind))) {
      await search.refresh(index)
      for (const month of await search.sumByMonth(index, kind === 'product_city_sales' ? 'localMonth' : 'localDay', [])) documents += month.documents
    }
    counts.set(kind, documents)
  }
  return counts
}

async function verify(environment: Environment, options: CommonOptions, signal: AbortSignal): Promise<void> {
  const progress = new Progress(options.quiet === true || options.json === true)
  const result = await verifySearch({
    database: environment.database,
    search: await environment.search(),
    prefix: searchPrefix(environment),
    salesFrom: firstSaleMonth(environment.settings.zone, keepMonthsDefault, Date.now()),
    signal,
    onMonth: (view, month) => progress.show(`${view} ${month.slice(0, 7)}`),
  })
  progress.done('compared')
  if (options.json === true) printJson(result)
  else {
    for (const { index, id, document, figures } of result.listed) print(`${index} ${id}: is ${document?.join(' ') ?? 'missing'}, should be ${figures.join(' ')}`)
    if (result.differences > result.listed.length) print(`… and ${count(result.differences - result.listed.length)} more`)
    for (const month of result.sales.differingMonths) print(`sales of ${month}: their documents do not add up to the revenue (a copy that two workers counted does that until the next batch)`)
    if (result.unsettled > 0) print(`${count(result.unsettled)} cells changed at every look: nothing can be said of them.`)
    print(`${result.differences === 0 ? 'No difference' : `${count(result.differences)} differences`} in ${count(result.documents)} documents of the figures; ${count(result.sales.documents)} documents of sales.`)
  }
  if (result.missing.length > 0) {
    throw new UnavailableError(`There is no index yet of ${result.missing.join(', ')}: the follower is building it ("tidemark search status").`)
  }
  if (result.differences > 0 || result.sales.differingMonths.length > 0) process.exitCode = exitCodes.difference
}

async function rebuild(environment: Environment, given: readonly string[], options: CommonOptions, signal: AbortSignal): Promise<void> {
  const kinds = given.includes('all') ? searchKinds : given.map(asKind)
  await environment.search()
  const progress = new Progress(options.quiet === true || options.json === true)
  const status = await rebuildSearch(environment, kinds, openLogger('search', 'warn'), signal, ({ indices }) => {
    const building = indices.filter((index) => index.state === 'building')
    progress.show(building.map((index) => `${index.kind} ${index.kind === 'sales' ? '…' : `${index.monthsDue - index.monthsLeft} of ${index.monthsDue} months`}`).join(' · '))
  })
  progress.done('built')
  const serving = status.indices.filter((index) => index.state === 'serving' && kinds.includes(index.kind)).map((index) => index.name)
  if (options.json === true) return printJson({ serving })
  print(`Built and serving: ${serving.join(', ')}.`)
}

function asKind(text: string): SearchKind {
  const kind = searchKinds.find((one) => one === text)
  if (kind === undefined) throw new InvalidRequestError(`There is no index of ${text}: name ${searchKinds.join(', ')} or all.`)
  return kind
}
