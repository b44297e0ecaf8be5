/** The port SearchIndex, as a suite: run on Elasticsearch, and on the one in memory that other tests use in its place. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ConflictError } from '#core/errors.ts'
import type { FoundDocument, SearchIndex, SearchTemplate } from '#core/ports.ts'

export type SearchUnderTest = AsyncDisposable & { readonly search: SearchIndex }

function template(prefix: string): SearchTemplate {
  return { name: `${prefix}-figures`, pattern: `${prefix}-*`, version: 1, fields: { city: 'keyword', localDay: 'date', grossMinor: 'long', readNumber: 'long' } }
}

function body(fields: { readonly city?: string; readonly localDay?: string; readonly grossMinor?: bigint | number; readonly readNumber?: number }): string {
  const { city = 'London', localDay = '2025-03-01', grossMinor = 1, readNumber = 1 } = fields
  return `{"city":${JSON.stringify(city)},"localDay":"${localDay}","grossMinor":${grossMinor},"readNumber":${readNumber}}`
}

export function testSearchIndex(name: string, open: () => Promise<SearchUnderTest>): void {
  describe(`the search index: ${name}`, () => {
    let opened: SearchUnderTest
    let search: SearchIndex
    let prefix: string
    let index: string

    beforeAll(async () => {
      opened = await open()
      ;({ search } = opened)
    }, 60_000)
    afterAll(async () => {
      for (const left of await search.list(`${prefix}-*`)) await search.remove(left)
      await opened[Symbol.asyncDispose]()
    })
    beforeEach(async () => {
      if (prefix !== undefined) for (const left of await search.list(`${prefix}-*`)) await search.remove(left)
      prefix = `contract${randomUUID().slice(0, 8)}`
      index = `${prefix}-a`
      await search.define(template(prefix))
      await search.create(index)
    }, 30_000)

    async function all(of = index): Promise<FoundDocument[]> {
      await search.refresh(of)
      const documents: FoundDocument[] = []
      for await (const page of search.scan(of, 'localDay', '0001-01-01', '9999-12-31')) documents.push(...page)
      return documents.sort((a, b) => (a.id < b.id ? -1 : 1))
    }

    test('puts a document once, however often it is sent', async () => {
      const document = { id: 'a', version: 3, body: body({}) }
      expect(await search.put(index, [document])).toEqual({ written: 1, newer: [], refused: [] })
      expect(await search.put(index, [document])).toEqual({ written: 0, newer: [{ id: 'a', version: 3, versionThere: 3 }], refused: [] })
      expect((await all()).map(({ id, version }) => ({ id, version }))).toEqual([{ id: 'a', version: 3 }])
    })

    test('never lets an older version win, and says which is there', async () => {
      await search.put(index, [{ id: 'a', version: 7, body: body({ city: 'new' }) }])
      expect((await search.put(index, [{ id: 'a', version: 5, body: body({ city: 'old' }) }, { id: 'b', version: 5, body: body({}) }])).newer).toEqual([{ id: 'a', version: 5, versionThere: 7 }])
      expect((await search.get(index, 'a'))!.source['city']).toBe('new')
      await search.put(index, [{ id: 'a', version: 9, body: body({ city: 'newest' }) }])
      expect(await search.get(index, 'a')).toMatchObject({ version: 9, source: { city: 'newest' } })
    })

    test('deletes by version, and a put of before does not bring it back', async () => {
      await search.put(index, [{ id: 'a', version: 2, body: body({}) }])
      await search.put(index, [{ id: 'a', version: 4, body: null }, { id: 'never', version: 4, body: null }])
      expect(await search.get(index, 'a')).toBeNull()
      expect((await search.put(index, [{ id: 'a', version: 3, body: body({}) }])).newer).toHaveLength(1)
      expect(await all()).toEqual([])
    })

    test('keeps whole numbers beyond a double, and text of every script, in ids as well', async () => {
      const city = 'Zürich "東京" \\ عربي 🏙️'
      await search.put(index, [{ id: city, version: 1, body: body({ city, grossMinor: 9_223_372_036_854_775_807n }) }])
      expect(await search.get(index, city)).toEqual({ id: city, version: 1, source: { city, localDay: '2025-03-01', grossMinor: 9_223_372_036_854_775_807n, readNumber: 1 } })
    })

    test('an index is made by create alone: a put into one that is gone says so', async () => {
      await search.put(index, [{ id: 'a', version: 1, body: body({}) }])
      await search.remove(index)
      await search.remove(index)
      const missing = { name: 'ConflictError', details: { missingIndex: index } }
      for (const ask of [
        () => search.put(index, [{ id: 'b', version: 1, body: body({}) }]),
        () => search.refresh(index),
        () => search.sumByMonth(index, 'localDay', ['grossMinor']),
        () => search.highest(index, 'readNumber'),
        () => search.get(index, 'a'),
        () => all(),
      ]) {
        await expect(ask()).rejects.toMatchObject(missing)
        await expect(ask()).rejects.toBeInstanceOf(ConflictError)
      }
      expect(await search.list(`${prefix}-*`)).toEqual([])
    })

    test('creates an index once, and leaves what it holds', async () => {
      await search.put(index, [{ id: 'a', version: 1, body: body({}) }])
      await search.create(index)
      expect(await all()).toHaveLength(1)
    })

    test('moves an alias from some indices to others at once', async () => {
      const other = `${prefix}-b`
      await search.create(other)
      expect(await search.pointed(`${prefix}`)).toEqual([])
      await search.point(prefix, [index])
      await search.point(prefix, [index])
      expect(await search.pointed(prefix)).toEqual([index])
      await search.point(prefix, [other])
      expect(await search.pointed(prefix)).toEqual([other])
      await search.point(prefix, [index, other])
      expect(await search.pointed(prefix)).toEqual([index, other])
      expect(await search.list(`${prefix}-*`)).toEqual([index, other])
    })

    test('adds up by month, and knows the highest number', async () => {
      expect(await search.highest(index, 'readNumber')).toBeNull()
      await search.put(index, [
        { id: 'a', version: 1, body: body({ localDay: '2025-02-28', grossMinor: 5, readNumber: 4 }) },
        { id: 'b', version: 1, body: body({ localDay: '2025-03-01', grossMinor: 7, readNumber: 9 }) },
        { id: 'c', version: 1, body: body({ localDay: '2025-03-31', grossMinor: -3, readNumber: 2 }) },
      ])
      await search.refresh(index)
      expect(await search.sumByMonth(index, 'localDay', ['grossMinor'])).toEqual([
        { month: '2025-02', documents: 1, sums: { grossMinor: 5 } },
        { month: '2025-03', documents: 2, sums: { grossMinor: 4 } },
      ])
      expect(await search.highest(index, 'readNumber')).toBe(9)
    })

    test('scans a range of days, every document once, over several pages', async () => {
      const documents = Array.from({ length: 4_500 }, (_, n) => ({ id: `d${n}`, version: 1, body: body({ localDay: n % 2 === 0 ? '2025-03-31' : '2025-04-01', grossMinor: n }) }))
      expect((await search.put(index, documents)).written).toBe(4_500)
      await search.refresh(index)
      const found: FoundDocument[] = []
      for await (const page of search.scan(index, 'localDay', '2025-03-01', '2025-04-01')) found.push(...page)
      expect(new Set(found.map(({ id }) => id)).size).toBe(2_250)
      expect(found).toHaveLength(2_250)
    }, 30_000)
  })
}
