/** Elasticsearch through its adapter: the contract, what only the real one refuses, and servers that misbehave. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, UnavailableError } from '#core/errors.ts'
import type { SearchIndex } from '#core/ports.ts'
import { openElasticsearch } from '#engines/elasticsearch.ts'
import { templatesOf } from '#speed/search-documents.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import { MemorySearch } from '#test/lab/memory-search.ts'
import type { SearchFault } from '#test/lab/search-proxy.ts'
import { SearchProxy } from '#test/lab/search-proxy.ts'
import { testSearchIndex } from './search-contract.ts'

const url = testEngine('elasticsearch')

describe.skipIf(url === null)(`on a real Elasticsearch${whereMissing('elasticsearch')}`, () => {
  testSearchIndex('Elasticsearch', async () => {
    const search = await openElasticsearch({ url: url! })
    return { search, [Symbol.asyncDispose]: () => search[Symbol.asyncDispose]() }
  })

  test('refuses single documents for good and takes their neighbours: an unknown field, a number that is none, a number too large', async () => {
    const prefix = `refuse${randomUUID().slice(0, 8)}`
    await using search = await openElasticsearch({ url: url! })
    await search.define({ name: prefix, pattern: `${prefix}-*`, version: 1, fields: { grossMinor: 'long' } })
    await search.create(`${prefix}-a`)
    const put = await search.put(`${prefix}-a`, [
      { id: 'unknown', version: 1, body: '{"color":"red"}' },
      { id: 'good', version: 1, body: '{"grossMinor":1}' },
      { id: 'text', version: 1, body: '{"grossMinor":"many"}' },
      { id: 'large', version: 1, body: '{"grossMinor":9223372036854775808}' },
    ])
    await search.remove(`${prefix}-a`)
    expect(put.written).toBe(1)
    expect(put.refused.map(({ id }) => id)).toEqual(['unknown', 'text', 'large'])
    expect(put.refused[0]!.reason).toMatch(/strict_dynamic_mapping/)
  })

  test('every template of ours is taken, twice, and a text of 256 bytes in each keyword is found by it', async () => {
    const prefix = `tmpl${randomUUID().slice(0, 8)}`
    await using search = await openElasticsearch({ url: url! })
    for (const template of [...templatesOf(prefix), ...templatesOf(prefix)]) await search.define(template)
    const index = `${prefix}-revenue-1`
    await search.create(index)
    const city = 'ü'.repeat(128)
    expect((await search.put(index, [{ id: 'a', version: 1, body: JSON.stringify({ localDay: '2025-03-01', city, grossMinor: 1, readNumber: 1 }) }])).written).toBe(1)
    await search.refresh(index)
    const answer = await fetch(`${url}/${index}/_search`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query: { term: { city } } }) })
    const { hits } = (await answer.json()) as { hits: { hits: unknown[] } }
    await search.remove(index)
    expect(hits.hits).toHaveLength(1)
  })
})

testSearchIndex('in memory', async () => {
  const search = new MemorySearch()
  return { search, [Symbol.asyncDispose]: () => search[Symbol.asyncDispose]() }
})

testSearchIndex('in memory, by way of HTTP', async () => {
  const proxy = await SearchProxy.open(null)
  const search = await openElasticsearch({ url: proxy.url })
  return {
    search,
    async [Symbol.asyncDispose]() {
      await search[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    },
  }
})

describe('an Elasticsearch that misbehaves', () => {
  let proxy: SearchProxy
  let search: SearchIndex
  const documents = Array.from({ length: 10 }, (_, n) => ({ id: `d${n}`, version: 5, body: `{"grossMinor":${n}}` }))

  beforeEach(async () => {
    proxy = await SearchProxy.open(null)
    search = await openElasticsearch({ url: proxy.url, requestTimeoutMs: 400, retryDelayMs: 5, retriesMax: 3 })
    await search.create('x')
  })
  afterEach(async () => {
    await search[Symbol.asyncDispose]()
    await proxy[Symbol.asyncDispose]()
  })

  /** The first bulk requests fail like this, the others do not. */
  function failFirst(count: number, fault: SearchFault): void {
    let left = count
    proxy.fault = ({ path }) => (path.includes('_bulk') && left-- > 0 ? fault : 'none')
  }

  test.each(['busy', 'unavailable', 'lost'] as const)('a request that is turned away (%s) is sent again, and nothing is doubled', async (fault) => {
    failFirst(2, fault)
    const put = await search.put('x', documents)
    expect(put.refused).toEqual([])
    expect(put.written + put.newer.length).toBe(10)
    expect(proxy.memory.indices.get('x')!.size).toBe(10)
  })

  test.each(['hang', 'refuse', 'cut', 'page', 'busy', 'unavailable'] as const)('one that never gets better (%s) is an UnavailableError, soon', async (fault) => {
    failFirst(100, fault)
    const startedAt = performance.now()
    await expect(search.put('x', documents)).rejects.toBeInstanceOf(UnavailableError)
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(proxy.asked.filter(({ path }) => path.includes('_bulk')).length).toBeLessThanOrEqual(5)
  })

  test.each(['hang', 'refuse', 'cut', 'page', 'busy', 'unavailable'] as const)('every other question to it (%s) is an UnavailableError', async (fault) => {
    proxy.fault = () => fault
    for (const ask of [
      () => search.create('y'),
      () => search.refresh('x'),
      () => search.sumByMonth('x', 'localDay', []),
      () => search.highest('x', 'readNumber'),
      () => search.list('x*'),
      () => search.pointed('x'),
      () => search.get('x', 'd1'),
      () => search.define({ name: 't', pattern: 't-*', version: 1, fields: {} }),
    ]) {
      await expect(ask(), String(ask)).rejects.toBeInstanceOf(UnavailableError)
    }
  }, 20_000)

  test('single items that are turned away are sent again, alone', async () => {
    let rounds = 0
    proxy.fault = ({ path }) => {
      if (!path.includes('_bulk') || rounds++ > 1) return 'none'
      return { items: ({ id }) => (id === 'd3' ? { status: 429, type: 'es_rejected_execution_exception' } : id === 'd7' ? { status: 503, type: 'unavailable_shards_exception' } : null) }
    }
    expect(await search.put('x', documents)).toEqual({ written: 10, newer: [], refused: [] })
    const sent = proxy.asked.filter(({ path }) => path.includes('_bulk')).map(({ body }) => body.trim().split('\n').length / 2)
    expect(sent).toEqual([10, 2, 2])
  })

  test('a full disk (items blocked with 403) is no reason to drop a document', async () => {
    failFirst(100, { items: ({ id }) => (id === 'd3' ? { status: 403, type: 'cluster_block_exception' } : null) })
    await expect(search.put('x', documents)).rejects.toBeInstanceOf(UnavailableError)
  })

  test('items refused for what they are are told apart from those that are taken', async () => {
    proxy.memory.refuses = ({ id }) => id === 'd2'
    expect(await search.put('x', documents)).toMatchObject({ written: 9, refused: [{ id: 'd2', reason: expect.stringContaining('document_parsing_exception') as string }] })
  })

  test('a request that is too large is halved until it is not; one document that is too large is refused', async () => {
    proxy.fault = ({ path, body }) => (path.includes('_bulk') && (body.split('\n').length > 5 || body.includes('"d4"')) ? 'too-large' : 'none')
    expect(await search.put('x', documents)).toMatchObject({ written: 9, refused: [{ id: 'd4' }] })
  })

  test('bulk requests are bounded in documents and in bytes', async () => {
    await using bounded = await openElasticsearch({ url: proxy.url, bulkDocumentsMax: 4, bulkBytesMax: 2_000 })
    await bounded.put('x', [...documents, { id: 'long', version: 1, body: `{"city":"${'x'.repeat(3_000)}"}` }])
    const sent = proxy.asked.filter(({ path }) => path.includes('_bulk')).map(({ body }) => body.trim().split('\n').length / 2)
    expect(sent).toEqual([4, 4, 2, 1])
  })

  test('what is no Elasticsearch, and what asks for a password, is a ConfigError that says so', async () => {
    proxy.fault = () => 'other-product'
    await expect(search.put('x', documents)).rejects.toThrow(ConfigError)
    proxy.fault = () => 'stranger'
    await expect(search.put('x', documents)).rejects.toThrow(/SEARCH_URL/)
    await expect(openElasticsearch({ url: 'http://user:secret@ host' })).rejects.toThrow(/^((?!secret).)*$/)
  })

  test('stops when it is told to, also while it waits', async () => {
    failFirst(100, 'busy')
    await using patient = await openElasticsearch({ url: proxy.url, retryDelayMs: 60_000 })
    const stopping = new AbortController()
    const putting = patient.put('x', documents, stopping.signal)
    setTimeout(() => stopping.abort(), 50)
    await expect(putting).rejects.toMatchObject({ name: 'AbortError' })
  })
})
