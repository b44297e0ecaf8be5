/**
 * The search index: Elasticsearch 9 through its client. Documents are written whole, by id, with external versions, so that a repeat changes nothing and
 * an older one never wins. A bulk request says of each item what became of it: each answer is read, nothing is taken for granted.
 *
 * `GET /` is never asked: a build without it serves as well.
 */
import { Client, HttpConnection, Serializer } from '@elastic/elasticsearch'
import { ConfigError, UnavailableError } from '#core/errors.ts'
import type { FoundDocument, SearchDocument, SearchFieldType, SearchIndex, SearchMonth, SearchPut, SearchTemplate } from '#core/ports.ts'
import { errorOf, isPassingStatus, missingIndexError, translateSearchError } from './elasticsearch-errors.ts'

export type ElasticsearchOptions = {
  /** `http://user:password@host:9200`, several by commas. */
  readonly url: string
  readonly apiKey?: string
  /** Of one request; default 30,000. */
  readonly requestTimeoutMs?: number
  /** Of one bulk request; default 1,000 and 4 MiB. */
  readonly bulkDocumentsMax?: number
  readonly bulkBytesMax?: number
  /** How often items that were turned away for now are sent again before the caller hears of it; default 4. */
  readonly retriesMax?: number
  /** Before the first of them, doubled each time; default 100. */
  readonly retryDelayMs?: number
}

const requestTimeoutMsDefault = 30_000
const bulkDocumentsMaxDefault = 1_000
const bulkBytesMaxDefault = 4 * 1024 * 1024
const retriesMaxDefault = 4
const retryDelayMsDefault = 100
const retryDelayMaxMs = 5_000
const scanPage = 2_000
const scanKeepAlive = '2m'
/** Above Elasticsearch's own built-in templates. */
const templatePriority = 500
/** Of a bulk response: a few hundred bytes an item. */
const responseBytesMax = 256 * 1024 * 1024

export async function openElasticsearch(options: ElasticsearchOptions): Promise<SearchIndex> {
  const nodes = options.url.split(',').map((url) => url.trim())
  for (const node of nodes) {
    if (!/^https?:\/\/[^\s]+$/.test(node) || !isDecodable(node)) throw new ConfigError('SEARCH_URL must be http://host:9200 or https://…, several by commas; a comma in a password is written %2C, a % as %25.')
  }
  return new Elasticsearch(nodes, options)
}

function isDecodable(url: string): boolean {
  if (!URL.canParse(url)) return false
  try {
    const { username, password } = new URL(url)
    decodeURIComponent(username + password)
    return true
  } catch {
    return false
  }
}

/** Whole numbers that a double cannot hold come as bigint, from their source text. */
class ExactSerializer extends Serializer {
  override deserialize<T = unknown>(json: string): T {
    if (!/\d{16}/.test(json)) return super.deserialize(json) as T
    return JSON.parse(json, (_key, value: unknown, context?: { readonly source?: string }) => {
      if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined || !/^-?\d+$/.test(context.source)) return value
      return BigInt(context.source)
    }) as T
  }
}

type Item = { readonly _id: string; readonly _version?: number; readonly status: number; readonly result?: string; readonly error?: { readonly type: string; readonly reason: string } }

class Elasticsearch implements SearchIndex {
  readonly #client: Client
  readonly #options: Required<Omit<ElasticsearchOptions, 'apiKey' | 'url'>>

  constructor(nodes: readonly string[], options: ElasticsearchOptions) {
    this.#options = {
      requestTimeoutMs: options.requestTimeoutMs ?? requestTimeoutMsDefault,
      bulkDocumentsMax: options.bulkDocumentsMax ?? bulkDocumentsMaxDefault,
      bulkBytesMax: options.bulkBytesMax ?? bulkBytesMaxDefault,
      retriesMax: options.retriesMax ?? retriesMaxDefault,
      retryDelayMs: options.retryDelayMs ?? retryDelayMsDefault,
    }
    this.#client = new Client({
      nodes: [...nodes],
      ...(options.apiKey !== undefined && { auth: { apiKey: options.apiKey } }),
      requestTimeout: this.#options.requestTimeoutMs,
      // Repeats are decided here, where it is known what may be repeated.
      maxRetries: 0,
      Connection: HttpConnection,
      Serializer: ExactSerializer,
      maxResponseSize: responseBytesMax,
    })
  }

  async define({ name, pattern, version, fields }: SearchTemplate): Promise<void> {
    await this.#ask(`define ${name}`, name, (transport) =>
      this.#client.indices.putIndexTemplate(
        {
          name,
          index_patterns: [pattern],
          priority: templatePriority,
          // An index that somebody removed must be missed, not made again without its documents.
          allow_auto_create: false,
          version,
          _meta: { tidemark: { version } },
          template: {
            settings: { number_of_shards: 1, auto_expand_replicas: '0-1', refresh_interval: '1s', 'index.mapping.total_fields.limit': 100 },
            mappings: { dynamic: 'strict', _meta: { tidemark: { version } }, properties: Object.fromEntries(Object.entries(fields).map(([field, type]) => [field, mappingOf(type)])) },
          },
        },
        transport,
      ),
    )
  }

  async create(index: string): Promise<void> {
    await this.#ask('create an index', index, async (transport) => {
      try {
        return await this.#client.indices.create({ index, wait_for_active_shards: 1 }, transport)
      } catch (thrown) {
        if (errorOf((thrown as { body?: unknown }).body).type !== 'resource_already_exists_exception') throw thrown
        return null
      }
    })
  }

  async remove(index: string): Promise<void> {
    await this.#ask('remove an index', index, (transport) => this.#client.indices.delete({ index, ignore_unavailable: true }, transport))
  }

  async list(pattern: string): Promise<string[]> {
    const found = await this.#ask('list indices', pattern, (transport) => this.#client.indices.get({ index: pattern, allow_no_indices: true, features: ['aliases'] as never }, transport))
    return Object.keys(found).sort()
  }

  async point(alias: string, indices: readonly string[]): Promise<void> {
    const before = await this.pointed(alias)
    const actions = [
      ...before.filter((index) => !indices.includes(index)).map((index) => ({ remove: { index, alias, must_exist: false } })),
      ...indices.filter((index) => !before.includes(index)).map((index) => ({ add: { index, alias } })),
    ]
    if (actions.length === 0) return
    await this.#ask('move an alias', alias, (transport) => this.#client.indices.updateAliases({ actions }, transport))
  }

  async pointed(alias: string): Promise<string[]> {
    const found = await this.#ask('read an alias', alias, (transport) => this.#client.indices.getAlias({ name: alias }, { ...transport, ignore: [404] }))
    // Where there is none the answer is an error's body.
    return 'error' in found ? [] : Object.keys(found).sort()
  }

  async put(index: string, documents: readonly SearchDocument[], signal?: AbortSignal): Promise<SearchPut> {
    const put: MutablePut = { written: 0, newer: [], refused: [] }
    for (const chunk of this.#chunks(documents)) await this.#putChunk(index, chunk, put, signal)
    return put
  }

  /** Sends what is left until nothing is; what was turned away for now is sent again, ever later. */
  async #putChunk(index: string, documents: readonly SearchDocument[], put: MutablePut, signal: AbortSignal | undefined): Promise<void> {
    let left = documents
    for (let tries = 0; ; tries++) {
      signal?.throwIfAborted()
      const outcome = await this.#bulk(index, left, signal)
      if (outcome === 'too-large') {
        if (left.length === 1) {
          put.refused.push({ id: left[0]!.id, reason: 'the document alone is larger than Elasticsearch takes (http.max_content_length)' })
          return
        }
        const middle = Math.ceil(left.length / 2)
        await this.#putChunk(index, left.slice(0, middle), put, signal)
        await this.#putChunk(index, left.slice(middle), put, signal)
        return
      }
      left = sortItems(index, left, outcome, put)
      if (left.length === 0) return
      if (tries >= this.#options.retriesMax) {
        throw new UnavailableError(`Elasticsearch turned ${left.length} of ${documents.length} documents of ${index} away, ${tries + 1} times: it is overloaded, or its disk is full.`, { index })
      }
      await this.#wait(tries, signal)
    }
  }

  async #bulk(index: string, documents: readonly SearchDocument[], signal: AbortSignal | undefined): Promise<readonly Item[] | 'too-large'> {
    const operations: string[] = []
    for (const { id, version, body } of documents) {
      const meta = JSON.stringify({ _id: id, version, version_type: 'external' })
      if (body === null) operations.push(`{"delete":${meta}}`)
      else operations.push(`{"index":${meta}}`, body)
    }
    for (let tries = 0; ; tries++) {
      try {
        const answer = await this.#client.bulk({ index, operations }, { requestTimeout: this.#options.requestTimeoutMs, ...(signal && { signal }) })
        const items = (answer as { items?: unknown }).items
        if (!Array.isArray(items) || items.length !== documents.length) throw new UnavailableError(`Elasticsearch answered for ${Array.isArray(items) ? items.length : 'none'} of ${documents.length} documents of ${index}.`, { index })
        return items.map((item: Record<string, Item>) => Object.values(item)[0]!)
      } catch (thrown) {
        if (signal?.aborted === true) throw signal.reason
        const status = (thrown as { statusCode?: unknown }).statusCode
        if (status === 413) return 'too-large'
        const error = translateSearchError('take documents', index, thrown)
        // The whole request was turned away; one whose outcome is unknown is repeated as well: versions make that harmless.
        if (!(error instanceof UnavailableError) || typeof status !== 'number' || tries >= this.#options.retriesMax) throw error
        await this.#wait(tries, signal)
      }
    }
  }

  async refresh(index: string): Promise<void> {
    await this.#ask('refresh', index, (transport) => this.#client.indices.refresh({ index }, transport))
  }

  async sumByMonth(index: string, dateField: string, fields: readonly string[]): Promise<SearchMonth[]> {
    const sums = Object.fromEntries(fields.map((field) => [field, { sum: { field } }]))
    const answer = await this.#ask('add up', index, (transport) =>
      this.#client.search(
        { index, size: 0, aggs: { months: { date_histogram: { field: dateField, calendar_interval: 'month', format: 'uuuu-MM', min_doc_count: 1 }, aggs: sums } } },
        transport,
      ),
    )
    checkWhole(index, answer)
    const { buckets } = answer.aggregations!['months'] as unknown as { buckets: readonly ({ key_as_string: string; doc_count: number } & Record<string, unknown>)[] }
    return buckets.map((bucket) => ({
      month: bucket.key_as_string,
      documents: bucket.doc_count,
      sums: Object.fromEntries(fields.map((field) => [field, Number((bucket[field] as { value: number | bigint }).value)])),
    }))
  }

  async highest(index: string, field: string): Promise<number | null> {
    const answer = await this.#ask('look', index, (transport) => this.#client.search({ index, size: 0, aggs: { highest: { max: { field } } } }, transport))
    checkWhole(index, answer)
    const { value } = answer.aggregations!['highest'] as { value: number | null }
    return value === null ? null : Number(value)
  }

  async *scan(index: string, dateField: string, from: string, to: string): AsyncGenerator<readonly FoundDocument[]> {
    const { id } = await this.#ask('open a view', index, (transport) => this.#client.openPointInTime({ index, keep_alive: scanKeepAlive }, transport))
    let pit = id
    try {
      let after: readonly unknown[] | undefined
      for (;;) {
        const answer = await this.#ask('search', index, (transport) =>
          this.#client.search(
            {
              pit: { id: pit, keep_alive: scanKeepAlive },
              size: scanPage,
              version: true,
              track_total_hits: false,
              sort: ['_shard_doc'],
              query: { range: { [dateField]: { gte: from, lt: to, format: 'uuuu-MM-dd' } } },
              ...(after && { search_after: after as never }),
            },
            transport,
          ),
        )
        checkWhole(index, answer)
        pit = answer.pit_id ?? pit
        const { hits } = answer.hits
        if (hits.length === 0) return
        yield hits.map((hit) => ({ id: hit._id!, version: Number(hit._version), source: hit._source as Record<string, unknown> }))
        after = hits.at(-1)!.sort as readonly unknown[]
      }
    } finally {
      await this.#client.closePointInTime({ id: pit }, { requestTimeout: this.#options.requestTimeoutMs }).catch(() => undefined)
    }
  }

  async get(index: string, id: string): Promise<FoundDocument | null> {
    const found = await this.#ask('read a document', index, async (transport) => {
      try {
        return await this.#client.get<Record<string, unknown>>({ index, id }, transport)
      } catch (thrown) {
        const body = (thrown as { body?: { found?: unknown } }).body
        if (body?.found === false) return null
        throw thrown
      }
    })
    return found === null ? null : { id: found._id, version: Number(found._version), source: found._source! }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close()
  }

  *#chunks(documents: readonly SearchDocument[]): Generator<readonly SearchDocument[]> {
    let chunk: SearchDocument[] = []
    let bytes = 0
    for (const document of documents) {
      const size = document.id.length + (document.body?.length ?? 0) * 2 + 80
      if (chunk.length > 0 && (chunk.length >= this.#options.bulkDocumentsMax || bytes + size > this.#options.bulkBytesMax)) {
        yield chunk
        chunk = []
        bytes = 0
      }
      chunk.push(document)
      bytes += size
    }
    if (chunk.length > 0) yield chunk
  }

  async #wait(tries: number, signal: AbortSignal | undefined): Promise<void> {
    const ms = Math.min(this.#options.retryDelayMs * 2 ** tries, retryDelayMaxMs) * (0.5 + Math.random() / 2)
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done, { once: true })
    })
    signal?.throwIfAborted()
  }

  async #ask<T>(doing: string, index: string, ask: (transport: { requestTimeout: number }) => Promise<T>): Promise<T> {
    try {
      const answer = await ask({ requestTimeout: this.#options.requestTimeoutMs })
      if (typeof answer === 'string') throw new UnavailableError(`Elasticsearch's address answered with a page where an answer was due: a proxy speaks in its place.`, { index })
      return answer
    } catch (thrown) {
      throw translateSearchError(doing, index, thrown)
    }
  }
}

type MutablePut = { written: number; readonly newer: SearchPut['newer'][number][]; readonly refused: SearchPut['refused'][number][] }

function mappingOf(type: SearchFieldType): { readonly type: SearchFieldType; readonly format?: string } {
  return type === 'date' ? { type, format: 'uuuu-MM-dd||strict_date_optional_time||epoch_millis' } : { type }
}

/** Books each item's outcome. Resolves to what was turned away for now. */
function sortItems(index: string, documents: readonly SearchDocument[], items: readonly Item[], put: MutablePut): SearchDocument[] {
  const left: SearchDocument[] = []
  for (const [at, document] of documents.entries()) {
    const { status, error, _id: id } = items[at]!
    if (id !== document.id) throw new UnavailableError(`Elasticsearch answered for ${id} where ${document.id} was sent.`, { index })
    if (error === undefined && (status < 300 || (status === 404 && document.body === null))) put.written++
    else if (error?.type === 'index_not_found_exception') throw missingIndexError(index)
    else if (status === 409) put.newer.push({ id, version: document.version, versionThere: versionIn(error?.reason) ?? document.version })
    else if (error === undefined || isPassingStatus(status, error.type)) left.push(document)
    else if (status === 401 || status === 403) throw new ConfigError(`Elasticsearch does not let this user write to ${index} (${status}): give SEARCH_URL a user with the right to it. ${error.reason}`, { index })
    else put.refused.push({ id, reason: `${error.type}: ${error.reason}`.slice(0, 1_000) })
  }
  return left
}

/** Only the text of a conflict tells which version is there. */
function versionIn(reason: string | undefined): number | null {
  const found = /current version \[(\d+)\]/.exec(reason ?? '')
  return found === null ? null : Number(found[1])
}

/** A search that some shards did not answer is no answer. */
function checkWhole(index: string, answer: { readonly timed_out?: boolean; readonly _shards?: { readonly failed: number; readonly successful: number; readonly total: number } }): void {
  const shards = answer._shards
  if (shards === undefined || answer.timed_out === true || shards.failed > 0 || shards.successful < shards.total) {
    throw new UnavailableError(`Elasticsearch answered for a part of ${index} only.`, { index, shards })
  }
}
