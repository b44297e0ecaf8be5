/** The search index: Elasticsearch, whether client and server fit, and the follower that fills it. */
import type { ElasticsearchFacts } from '#engines/elasticsearch-inspect.ts'
import type { SearchStatus } from '#store/search-status.ts'
import { readSearchStatus } from '#store/search-status.ts'
import type { Settings } from '../settings.ts'
import type { Examination, Report } from './finding.ts'
import type { StoreAccess } from './store-access.ts'
import { durationText, plural, shareText } from './units.ts'

const timeoutMs = 25_000
const requestTimeoutMs = 8_000
/** Elasticsearch's own marks are 85, 90 and 95 %: beyond the last it takes no writes. */
const diskWarnShare = 0.85
const diskFailShare = 0.95
const lagWarnSeconds = 60

export function searchExaminations(settings: Settings, reaching: Promise<StoreAccess>): readonly Examination[] {
  return [{ area: 'search', check: 'reachable', fix: 'Start Elasticsearch, or correct SEARCH_URL. The figures do not wait for it.', timeoutMs, look: (report) => lookAtSearch(report, settings, reaching) }]
}

async function lookAtSearch(report: Report, { searchUrl }: Settings, reaching: Promise<StoreAccess>): Promise<void> {
  if (searchUrl === '') return report.ok('index', 'none is asked for (SEARCH_URL is empty)')
  const { inspectElasticsearch } = await import('#engines/elasticsearch-inspect.ts')
  const facts = await inspectElasticsearch(searchUrl, '*', requestTimeoutMs)
  judgeElasticsearch(report, facts)
  const access = await reaching.catch(() => null)
  const database = access?.database ?? null
  if (access === null || database === null || (await access.status().catch(() => null)) === null) return
  judgeFollower(report, await readSearchStatus(database.pool), facts.indices)
}

export function judgeElasticsearch(report: Report, { clientVersion, versions, health, nodes, unassignedShards, diskUsed, blocked }: ElasticsearchFacts): void {
  const major = (version: string): string => version.split('.')[0]!
  report.ok('reachable', `${plural(nodes, 'node')}, ${health}`)
  const others = versions.filter((version) => major(version) !== major(clientVersion))
  if (others.length > 0) report.fail('version', `the server is ${versions.join(', ')} and the client ${clientVersion}: a client speaks to its own major version only`, `Use Elasticsearch ${major(clientVersion)}.`)
  else report.ok('version', `Elasticsearch ${versions.join(', ')}, client ${clientVersion}`)
  if (health === 'red') report.fail('health', `red: ${plural(unassignedShards, 'shard')} without a place`, 'GET /_cluster/allocation/explain says why; tidemark search rebuild fills an index anew from the figures.')
  else if (health === 'yellow') report.warn('health', `yellow: ${plural(unassignedShards, 'copy')} without a place`.replace('copys', 'copies'), 'Start another node, or lower the number of replicas: nothing is lost as long as no node goes.')
  if (blocked.length > 0) report.fail('disk', `${blocked.join(', ')} ${blocked.length === 1 ? 'takes' : 'take'} no writes since a disk was full`, 'Free space; Elasticsearch then lifts index.blocks.read_only_allow_delete by itself.')
  else if (diskUsed !== null && diskUsed >= diskFailShare) report.fail('disk', `${shareText(diskUsed)} in use: its indices turn read-only`, 'Free space on the node\'s disk.')
  else if (diskUsed !== null && diskUsed >= diskWarnShare) report.warn('disk', `${shareText(diskUsed)} in use: beyond 85 % no new shard gets a place, beyond 95 % nothing is written`, 'Free space on the node\'s disk.')
  else if (diskUsed !== null) report.ok('disk', `${shareText(diskUsed)} in use`)
}

export function judgeFollower(report: Report, status: SearchStatus | null, indices: readonly string[]): void {
  if (status === null) return report.ok('follower', 'has not run yet; "tidemark up" starts it')
  const missing = status.indices.filter(({ name, state }) => state === 'serving' && !indices.includes(name))
  if (missing.length > 0) report.warn('indices', `${missing.map(({ name }) => name).join(', ')} ${missing.length === 1 ? 'is' : 'are'} not there`, 'Somebody removed them: tidemark search rebuild makes them anew.')
  const says = `${durationText(status.lagSeconds * 1_000)} behind the figures, ${plural(status.salesBehind, 'record')} behind the log`
  if (status.lagSeconds > lagWarnSeconds) report.warn('follower', says, 'See that it runs: "tidemark up" does so, or tidemark search work.')
  else report.ok('follower', says)
  if (status.rejects > 0) report.warn('rejects', `${plural(status.rejects, 'document')} refused by Elasticsearch`, 'tidemark search status names them; after mending, tidemark search rebuild.')
}
