/**
 * An HTTP server before Elasticsearch that a test makes misbehave; where there is no Elasticsearch, a small one in memory answers, with as much of the
 * interface as the adapter uses. Real sockets and the real client, so that what is tested is what runs.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { ConflictError } from '#core/errors.ts'
import { MemorySearch } from './memory-search.ts'

export type Asked = { readonly method: string; readonly path: string; readonly body: string }
export type BulkItem = { readonly id: string; readonly op: string }
export type SearchFault =
  | 'none'
  /** The connection is reset. */
  | 'refuse'
  /** Nothing is answered. */
  | 'hang'
  /** 429, nothing done. */
  | 'busy'
  /** 503, nothing done. */
  | 'unavailable'
  /** Done, and answered with 503. */
  | 'lost'
  /** Done, and the answer ends half-way. */
  | 'cut'
  /** Done, and the answer is a proxy's page. */
  | 'page'
  /** 413, nothing done. */
  | 'too-large'
  /** 401 */
  | 'stranger'
  /** Answered by something that is no Elasticsearch. */
  | 'other-product'
  /** Single items of a bulk request are not done, and answered with this status. */
  | { readonly items: (item: BulkItem) => { readonly status: number; readonly type: string } | null }

type Answer = { readonly status: number; readonly body: string }

export class SearchProxy implements AsyncDisposable {
  /** Decides about each request. */
  fault: (asked: Asked) => SearchFault = () => 'none'
  readonly asked: Asked[] = []
  readonly memory = new MemorySearch()
  readonly #target: string | null
  readonly #server
  readonly #sockets = new Set<Socket>()

  private constructor(target: string | null) {
    this.#target = target
    this.#server = createServer((request, response) => void this.#take(request, response))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  /** `target`: the URL of an Elasticsearch, or null for the one in memory. */
  static async open(target: string | null): Promise<SearchProxy> {
    const proxy = new SearchProxy(target)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const asked = { method: request.method!, path: request.url!, body: Buffer.concat(chunks).toString() }
    this.asked.push(asked)
    try {
      await this.#answer(asked, response, this.fault(asked))
    } catch (thrown) {
      send(response, { status: 500, body: JSON.stringify({ error: { type: 'proxy', reason: String(thrown) } }) })
    }
  }

  async #answer(asked: Asked, response: ServerResponse, fault: SearchFault): Promise<void> {
    if (typeof fault === 'object') return send(response, await this.#bulkWithout(asked, fault.items))
    if (fault === 'refuse') return void response.socket!.resetAndDestroy()
    if (fault === 'hang') return
    if (fault === 'busy') return send(response, failure(429, 'es_rejected_execution_exception'))
    if (fault === 'unavailable') return send(response, failure(503, 'master_not_discovered_exception'))
    if (fault === 'too-large') return send(response, failure(413, 'content_too_long_exception'))
    if (fault === 'stranger') return send(response, failure(401, 'security_exception'))
    if (fault === 'other-product') return void response.writeHead(200, { 'content-type': 'application/json' }).end('{"items":[]}')
    const answer = await this.#perform(asked)
    if (fault === 'lost') return send(response, failure(503, 'node_closed_exception'))
    if (fault === 'page') return void response.writeHead(200, { 'content-type': 'text/html', 'x-elastic-product': 'Elasticsearch' }).end('<html>502 Bad Gateway</html>')
    if (fault === 'cut') {
      response.writeHead(200, { 'content-type': 'application/json', 'x-elastic-product': 'Elasticsearch', 'content-length': answer.body.length })
      response.write(answer.body.slice(0, answer.body.length / 2), () => response.socket!.resetAndDestroy())
      return
    }
    send(response, answer)
  }

  async #bulkWithout(asked: Asked, refuse: Extract<SearchFault, object>['items']): Promise<Answer> {
    if (!asked.path.includes('_bulk')) return this.#perform(asked)
    const kept: string[] = []
    const answers: (object | null)[] = []
    for (const { id, op, lines } of bulkItems(asked.body)) {
      const refused = refuse({ id, op })
      if (refused === null) kept.push(...lines)
      answers.push(refused === null ? null : { [op]: { _id: id, status: refused.status, error: { type: refused.type, reason: 'the test says so' } } })
    }
    const passed = kept.length === 0 ? [] : (JSON.parse((await this.#perform({ ...asked, body: `${kept.join('\n')}\n` })).body) as { items: object[] }).items
    return { status: 200, body: JSON.stringify({ errors: true, items: answers.map((answer) => answer ?? passed.shift()) }) }
  }

  async #perform(asked: Asked): Promise<Answer> {
    if (this.#target === null) return answerFrom(this.memory, asked)
    const headers = { 'content-type': asked.path.includes('_bulk') ? 'application/x-ndjson' : 'application/json' }
    const bodyless = asked.method === 'GET' || asked.method === 'HEAD'
    const answer = await fetch(this.#target + asked.path, { method: asked.method, headers, ...(!bodyless && { body: asked.body }) })
    return { status: answer.status, body: await answer.text() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}

function send(response: ServerResponse, { status, body }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json', 'x-elastic-product': 'Elasticsearch' }).end(body)
}

function failure(status: number, type: string): Answer {
  return { status, body: JSON.stringify({ error: { type, reason: 'the test says so' }, status }) }
}

function bulkItems(body: string): { readonly id: string; readonly op: string; readonly version: number; readonly lines: readonly string[] }[] {
  const lines = body.trimEnd().split('\n')
  const items = []
  for (let at = 0; at < lines.length; ) {
    const [op, { _id: id, version }] = Object.entries(JSON.parse(lines[at]!) as Record<string, { _id: string; version: number }>)[0]!
    const count = op === 'delete' ? 1 : 2
    items.push({ id, op, version, lines: lines.slice(at, at + count) })
    at += count
  }
  return items
}

/** As much of Elasticsearch as the adapter asks for. */
async function answerFrom(memory: MemorySearch, { method, path, body }: Asked): Promise<Answer> {
  const [pathname] = path.split('?') as [string]
  const [first = '', second = '', third = ''] = pathname.slice(1).split('/').map(decodeURIComponent)
  const ok = (answer: unknown): Answer => ({ status: 200, body: exactJson(answer ?? { acknowledged: true }) })
  try {
    if (first === '_index_template') return ok({ acknowledged: true })
    if (first === '_alias') {
      const names = await memory.pointed(second)
      return names.length === 0 ? { status: 404, body: JSON.stringify({ error: `alias [${second}] missing`, status: 404 }) } : ok(Object.fromEntries(names.map((name) => [name, {}])))
    }
    if (first === '_aliases') {
      const { actions } = JSON.parse(body) as { actions: Record<'add' | 'remove', { index: string; alias: string }>[] }
      for (const action of actions) {
        const { alias, index } = action.add ?? action.remove
        const before = await memory.pointed(alias)
        await memory.point(alias, action.add === undefined ? before.filter((name) => name !== index) : [...before, index])
      }
      return ok({ acknowledged: true })
    }
    if (first === '_pit') return ok({ succeeded: true })
    if (first === '_search') return ok(await searchPit(memory, JSON.parse(body) as PitSearch))
    if (second === '_bulk') return ok(await bulk(memory, first, body))
    if (second === '_refresh') return ok(await memory.refresh(first))
    if (second === '_pit') return ok({ id: (await memory.highest(first, 'x'), first) })
    if (second === '_search') return ok(await aggregate(memory, first, JSON.parse(body) as AggregateSearch))
    if (second === '_doc') {
      const found = await memory.get(first, third)
      return found === null ? { status: 404, body: JSON.stringify({ _id: third, found: false }) } : ok({ _id: third, _version: found.version, found: true, _source: found.source })
    }
    if (method === 'HEAD') return { status: memory.indices.has(first) ? 200 : 404, body: '' }
    if (method === 'PUT') return memory.indices.has(first) ? failure(400, 'resource_already_exists_exception') : ok(await memory.create(first))
    if (method === 'DELETE') return ok(await memory.remove(first))
    if (method === 'GET') return ok(Object.fromEntries((await memory.list(first)).map((name) => [name, {}])))
  } catch (thrown) {
    if (thrown instanceof ConflictError) return failure(404, 'index_not_found_exception')
    throw thrown
  }
  return failure(400, 'not in memory')
}

/** bigint as digits. */
function exactJson(value: unknown): string {
  const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown }
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? rawJSON(String(item)) : item))
}

async function bulk(memory: MemorySearch, index: string, body: string): Promise<unknown> {
  const items = []
  for (const { id, op, version, lines } of bulkItems(body)) {
    if (!memory.indices.has(index)) {
      items.push({ [op]: { _id: id, status: 404, error: { type: 'index_not_found_exception', reason: `no such index [${index}]` } } })
      continue
    }
    const put = await memory.put(index, [{ id, version, body: op === 'delete' ? null : lines[1]! }])
    const [newer] = put.newer
    if (newer !== undefined) {
      const reason = `[${id}]: version conflict, current version [${newer.versionThere}] is higher or equal to the one provided [${version}]`
      items.push({ [op]: { _id: id, status: 409, error: { type: 'version_conflict_engine_exception', reason } } })
    } else if (put.refused.length > 0) items.push({ [op]: { _id: id, status: 400, error: { type: 'document_parsing_exception', reason: 'refused by the test' } } })
    else items.push({ [op]: { _id: id, _version: version, status: 201, result: 'created' } })
  }
  return { errors: false, items }
}

type AggregateSearch = { aggs: { months?: { date_histogram: { field: string }; aggs: Record<string, unknown> }; highest?: { max: { field: string } } } }
type PitSearch = { pit: { id: string }; query: { range: Record<string, { gte: string; lt: string }> }; search_after?: unknown }
const shards = { timed_out: false, _shards: { total: 1, successful: 1, failed: 0 } }

async function aggregate(memory: MemorySearch, index: string, { aggs }: AggregateSearch): Promise<unknown> {
  if (aggs.highest !== undefined) return { ...shards, hits: { hits: [] }, aggregations: { highest: { value: await memory.highest(index, aggs.highest.max.field) } } }
  const { date_histogram: histogram, aggs: sums } = aggs.months!
  const months = await memory.sumByMonth(index, histogram.field, Object.keys(sums))
  const buckets = months.map((one) => ({ key_as_string: one.month, doc_count: one.documents, ...Object.fromEntries(Object.entries(one.sums).map(([name, value]) => [name, { value }])) }))
  return { ...shards, hits: { hits: [] }, aggregations: { months: { buckets } } }
}

async function searchPit(memory: MemorySearch, { pit, query, search_after: after }: PitSearch): Promise<unknown> {
  const hits: unknown[] = []
  const [field, { gte, lt }] = Object.entries(query.range)[0]!
  if (after === undefined) {
    for await (const page of memory.scan(pit.id, field, gte, lt)) hits.push(...page.map(({ id, version, source }, at) => ({ _id: id, _version: version, _source: source, sort: [at] })))
  }
  return { ...shards, pit_id: pit.id, hits: { hits } }
}
