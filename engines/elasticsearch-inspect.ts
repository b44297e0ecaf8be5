/**
 * What an Elasticsearch says of itself: plain facts for whoever judges them. Nothing is changed. The package's client is not asked: one of another major
 * version refuses to speak at all, and that is what is to be found out.
 */
import { createRequire } from 'node:module'
import { z } from 'zod'
import { ConfigError, UnavailableError, messageOf } from '#core/errors.ts'

export type ElasticsearchFacts = {
  readonly clientVersion: string
  /** Of its nodes, each once. */
  readonly versions: readonly string[]
  readonly health: string
  readonly nodes: number
  readonly unassignedShards: number
  /** Share of the fullest node's disk that is in use, 0 to 1; null where it does not tell. */
  readonly diskUsed: number | null
  /** Indices that take no writes since a disk was full. */
  readonly blocked: readonly string[]
  readonly indices: readonly string[]
}

const nodesAnswer = z.object({ nodes: z.record(z.string(), z.object({ version: z.string() })) })
const healthAnswer = z.object({ status: z.string(), number_of_nodes: z.number(), unassigned_shards: z.number() })
const disksAnswer = z.object({ nodes: z.record(z.string(), z.object({ fs: z.object({ total: z.object({ total_in_bytes: z.number(), available_in_bytes: z.number() }) }) })) })
const indicesAnswer = z.record(z.string(), z.object({ settings: z.object({ index: z.object({ blocks: z.object({ read_only_allow_delete: z.string().optional() }).optional() }).optional() }).optional() }))

/** Of the nodes of the URL the first that answers. Throws ConfigError where it refuses the user or is no Elasticsearch, UnavailableError where none answers in time. */
export async function inspectElasticsearch(url: string, pattern: string, timeoutMs: number): Promise<ElasticsearchFacts> {
  const failures: unknown[] = []
  for (const node of url.split(',').map((text) => text.trim())) {
    try {
      return await inspectNode(node, pattern, timeoutMs)
    } catch (thrown) {
      if (!(thrown instanceof UnavailableError)) throw thrown
      failures.push(thrown)
    }
  }
  throw failures[0]
}

async function inspectNode(node: string, pattern: string, timeoutMs: number): Promise<ElasticsearchFacts> {
  const get = <T>(path: string, answer: z.ZodType<T>): Promise<T> => ask(node, path, answer, timeoutMs)
  const { nodes } = await get('/_nodes/http?filter_path=nodes.*.version', nodesAnswer)
  const [health, disks, indices] = await Promise.all([
    get('/_cluster/health', healthAnswer),
    get('/_nodes/stats/fs?filter_path=nodes.*.fs.total', disksAnswer).catch(() => null),
    get(`/${pattern}/_settings?expand_wildcards=all&allow_no_indices=true&flat_settings=false`, indicesAnswer),
  ])
  const used = Object.values(disks?.nodes ?? {}).map(({ fs: { total } }) => 1 - total.available_in_bytes / total.total_in_bytes)
  return {
    clientVersion: (createRequire(import.meta.url)('@elastic/elasticsearch/package.json') as { version: string }).version,
    versions: [...new Set(Object.values(nodes).map(({ version }) => version))].sort(),
    health: health.status,
    nodes: health.number_of_nodes,
    unassignedShards: health.unassigned_shards,
    diskUsed: used.length === 0 ? null : Math.max(...used),
    blocked: Object.entries(indices).flatMap(([name, { settings }]) => (settings?.index?.blocks?.read_only_allow_delete === 'true' ? [name] : [])),
    indices: Object.keys(indices).sort(),
  }
}

async function ask<T>(node: string, path: string, answer: z.ZodType<T>, timeoutMs: number): Promise<T> {
  if (!URL.canParse(node)) throw new ConfigError('SEARCH_URL is no URL: http://host:9200 is expected.')
  const base = new URL(node)
  const user = base.username === '' ? {} : { authorization: `Basic ${Buffer.from(`${decodeURIComponent(base.username)}:${decodeURIComponent(base.password)}`).toString('base64')}` }
  const place = base.host
  base.username = ''
  base.password = ''
  let status: number
  let text: string
  try {
    const response = await fetch(`${base.href.replace(/\/$/, '')}${path}`, { headers: { accept: 'application/json', ...user }, redirect: 'error', signal: AbortSignal.timeout(timeoutMs) })
    status = response.status
    text = await response.text()
  } catch (thrown) {
    const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown
    throw new UnavailableError(`Elasticsearch at ${place} does not answer: ${messageOf(cause)}`, {}, thrown)
  }
  if (status === 401 || status === 403) throw new ConfigError(`Elasticsearch at ${place} does not let this user look (${status}): write http://user:password@host:9200.`, { status })
  if (status >= 500 || status === 429) throw new UnavailableError(`Elasticsearch at ${place} answers ${status}: ${text.slice(0, 200)}`, { status })
  const parsed = answer.safeParse(jsonOf(text))
  if (parsed.success) return parsed.data
  throw new ConfigError(`What answers at ${place} is no Elasticsearch (${status} to ${path}): correct SEARCH_URL.`, { status })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
