/** The HTTP side on a real store: contract, refusals, hygiene, versions. */
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { Value } from 'typebox/value'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDatabase } from '#store/database.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { parseMonthPeriod } from '#core/period.ts'
import { Admission } from '#serving/admission.ts'
import { renderProducts, renderRevenue } from '#serving/render.ts'
import { errorAnswer, minutesAnswer, paceAnswer, productsAnswer, revenueAnswer, statusAnswer } from '#serving/schemas.ts'
import { buildServer } from '#serving/server.ts'
import { startServing } from '#serving/start.ts'
import type { FilledStore } from './filled-store.ts'
import { openFilledStore } from './filled-store.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_007)
const settings = { zone: 'Europe/London', currency: 'GBP', booksOpenOn: '2024-01-01', version: '9.9.9', ledgerIdsMax: 1000 }
/** Half past midnight on 1 January in London. */
const clock = () => Date.parse('2025-01-01T00:30:00Z')

let store: FilledStore
let app: FastifyInstance
beforeAll(async () => {
  store = await openFilledStore('http')
  await store.batch(1, 1, [
    { day: '2024-12-30', gross: '10000000', unitsSold: 2 },
    { day: '2024-12-30', gross: '500', city: 'Paris', product: '7' },
  ])
  await store.live(2, [{ day: '2025-01-01', gross: '250', city: "L'Aquila" }])
  await store.point(1)
  await store.position(0, 10, Date.parse('2025-01-01T00:29:58Z'))
  await store.sql(`INSERT INTO speed_workers (worker, flushes, fenced_flushes) VALUES ('w1', 5, 1)`)
  await store.sql(
    `INSERT INTO dead_letters (topic, partition, log_offset, record_index, epoch, reason, detail, log_time_ms, found_by, bytes)
     VALUES ('transactions', 0, 3, 0, 1, 'bad-time', '', 0, 'speed', '')`,
  )
  app = await buildServer({ database: store.database, settings, clock })
})
afterAll(async () => {
  await app?.close()
  await store?.[Symbol.asyncDispose]()
})

const get = async (url: string, headers: Record<string, string> = {}) => app.inject({ url, headers })

describe('contract', () => {
  test.each([
    ['/v1/revenue', revenueAnswer],
    ['/v1/revenue?by=day,month,season,year,city,category', revenueAnswer],
    ['/v1/products/top', productsAnswer],
    ['/v1/products/top?n=1&by=net&season=2024-winter', productsAnswer],
    ['/v1/products/top?city=Paris&month=2024-12', productsAnswer],
    ['/v1/pace?from=2024-12-01', paceAnswer],
    ['/v1/minutes', minutesAnswer],
    ['/v1/status', statusAnswer],
  ])('%s answers as its schema says', async (url, schema) => {
    const response = await get(url)
    expect(response.statusCode).toBe(200)
    expect(response.headers['content-type']).toBe('application/json; charset=utf-8')
    expect([...Value.Errors(schema, response.json())]).toEqual([])
  })

  test('the row of the contract, to the letter', async () => {
    const response = await get('/v1/revenue?from=2024-12-01&to=2025-01-01&by=city,category&city=London')
    expect(response.json().rows).toEqual([
      {
        city: 'London',
        category: 'Electronics',
        currency: 'GBP',
        transactions: 1,
        orders: 1,
        refundEvents: 0,
        unitsSold: 2,
        unitsRefunded: 0,
        grossMinor: '10000000',
        refundsMinor: '0',
        netMinor: '10000000',
        gross: '100000.00',
        refunds: '0.00',
        net: '100000.00',
      },
    ])
  })

  test('the command line’s rendering is the API’s answer', async () => {
    const period = parseMonthPeriod('2024-12')
    const terms = { ledgerIdsMax: 1000 }
    expect((await get('/v1/revenue?from=2024-12-01&to=2025-01-01&by=city')).body).toBe(
      renderRevenue(await answerRevenue(store.database.pool, { by: ['city'], period }, terms)),
    )
    expect((await get('/v1/products/top?month=2024-12&n=3')).body).toBe(
      renderProducts(await answerTopProducts(store.database.pool, { n: 3, by: 'units', period }, terms)),
    )
  })

  test('status says which day it is in the shop', async () => {
    expect((await get('/v1/status')).json()).toMatchObject({
      version: '9.9.9',
      today: '2025-01-01',
      zone: 'Europe/London',
      batch: { id: 1, epoch: 1, pausedReason: null },
      batches: [{ id: 1, status: 'published', crossCheck: { result: 'corrected', corrections: 2 } }],
      deadLetters: { byReason: { 'bad-time': 1 } },
      speed: { partitions: [{ topic: 'transactions', partition: 0, nextOffset: 10, lastLogTime: '2025-01-01T00:29:58.000Z' }] },
    })
  })

  test('the OpenAPI document is 3.1 and the one that is checked in', async () => {
    const document = (await get('/openapi.json')).json()
    expect(document.openapi).toBe('3.1.0')
    expect(Object.keys(document.paths).sort()).toEqual([
      '/v1/batches',
      '/v1/batches/{batch}',
      '/v1/dead-letters',
      '/v1/dead-letters/{id}',
      '/v1/events',
      '/v1/minutes',
      '/v1/pace',
      '/v1/products/top',
      '/v1/reports',
      '/v1/reports/{kind}/{period}',
      '/v1/reports/{kind}/{period}/diff',
      '/v1/reports/{kind}/{period}/files/{format}',
      '/v1/restatements',
      '/v1/restatements/{kind}/{period}/{version}/events',
      '/v1/revenue',
      '/v1/status',
    ])
    await expect(`${JSON.stringify(document, null, 2)}\n`).toMatchFileSnapshot(fileURLToPath(new URL('../../../serving/openapi.json', import.meta.url)))
  })
})

describe('refusals', () => {
  test.each([
    '/v1/revenue?foo=1',
    '/v1/revenue?day=2024-12-30',
    '/v1/revenue?by=city,city',
    '/v1/revenue?by=city&by=category',
    '/v1/revenue?by=hour',
    '/v1/revenue?by=city,',
    '/v1/revenue?from=2024-12-31&to=2024-12-30',
    '/v1/revenue?from=2024-12-30&to=2024-12-30',
    '/v1/revenue?from=0001-01-01',
    '/v1/revenue?to=9999-12-31',
    '/v1/revenue?by=day&from=1970-01-01&to=2100-01-01',
    '/v1/revenue?currency=gbp',
    '/v1/revenue?currency=ABC',
    `/v1/revenue?city=${'x'.repeat(257)}`,
    '/v1/revenue?city=%00',
    '/v1/revenue?city=%E2%80%AE',
    '/v1/products/top?n=0',
    '/v1/products/top?n=101',
    '/v1/products/top?n=1e1',
    '/v1/products/top?by=margin',
    '/v1/products/top?day=2024-12-30&month=2024-12',
    '/v1/products/top?year=2024&from=2024-01-01',
    '/v1/products/top?season=2024-monsoon',
    '/v1/products/top?season=winter',
    '/v1/products/top?city=Paris&day=2024-12-30',
    '/v1/products/top?city=Paris&category=x&month=2024-12',
    '/v1/pace?city=Paris',
    '/v1/pace?asOfBatch=7',
    '/v1/minutes?n=1',
    '/v1/status?verbose=1',
    '/v1/events?x=1',
  ])('%s is a 400 that says what to change', async (url) => {
    const response = await get(url)
    expect(response.statusCode).toBe(400)
    expect([...Value.Errors(errorAnswer, response.json())]).toEqual([])
    expect(response.json().error.code).toBe('invalid-request')
    expect(response.json().error.message.length).toBeGreaterThan(20)
  })

  test(`injection: whatever stands in a parameter, never a 500 and never more rows (seed ${seed})`, async () => {
    const nasty = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom(
        "' OR 1=1 --",
        "London' OR '1'='1",
        '"; DROP TABLE live_revenue; --',
        '$1',
        '$$',
        '%00',
        '\u0000',
        '\u02bc OR 1=1',
        "\\' OR 1=1",
        '{}',
        '*',
        '/**/',
        '__proto__',
        'constructor',
        '-1',
        'NaN',
        '1e999',
        'infinity',
        '-infinity',
        "2024-12-30'::date",
        '\ud800',
      ),
    )
    const routes = {
      '/v1/revenue': ['from', 'to', 'by', 'city', 'category', 'currency', 'asOf', 'asOfBatch'],
      '/v1/products/top': ['n', 'by', 'day', 'month', 'season', 'year', 'from', 'to', 'city', 'category', 'currency', 'asOf', 'asOfBatch'],
      '/v1/pace': ['from', 'to', 'category', 'currency'],
      '/v1/minutes': ['n'],
    }
    const request = fc.constantFrom(...Object.entries(routes)).chain(([route, names]) =>
      fc.tuple(fc.constant(route), fc.array(fc.tuple(fc.oneof(fc.constantFrom(...names), nasty), nasty), { maxLength: 3 })),
    )
    await fc.assert(
      fc.asyncProperty(request, async ([route, pairs]) => {
        const query = pairs.map(([name, value]) => `${escapeLoosely(name)}=${escapeLoosely(value)}`).join('&')
        const response = await get(`${route}?${query}`)
        expect([200, 400]).toContain(response.statusCode)
        if (response.statusCode === 200) {
          const { rows } = response.json() as { rows: Record<string, unknown>[] }
          for (const [name, value] of pairs) if (name === 'city') for (const row of rows) expect(row['city'] ?? value.normalize('NFC')).toBe(value.normalize('NFC'))
          expect(rows.length).toBeLessThanOrEqual(3)
        }
      }),
      { seed, numRuns: 400 },
    )
    expect((await get('/v1/revenue')).json().rows[0].grossMinor).toBe('10000750')
  })

  test('a filter that names what is there finds exactly that, quotes and all', async () => {
    const { rows } = (await get(`/v1/revenue?by=city&city=${encodeURIComponent("L'Aquila")}`)).json()
    expect(rows.map((row: { city: string }) => row.city)).toEqual(["L'Aquila"])
    expect((await get(`/v1/revenue?by=city&city=${encodeURIComponent("L'Aquila' OR true --")}`)).json().rows).toEqual([])
  })
})

/** As a careless client would: lone surrogates cannot be written, everything else is escaped. */
function escapeLoosely(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : text.toWellFormed().replaceAll(/[^\w]/g, (unit) => encodeURIComponent(unit))
}

describe('hygiene', () => {
  test('404, 405 and errors are JSON without stacks', async () => {
    for (const [method, url, status, allow] of [
      ['GET', '/nothing', 404, undefined],
      ['GET', '/v1/*/files/', 404, undefined],
      ['POST', '/v1/reports/monthly/2025-03/files/html', 405, 'GET, HEAD'],
      ['POST', '/v1/revenue', 405, 'GET, HEAD'],
      ['DELETE', '/v1/status', 405, 'GET, HEAD'],
      ['HEAD', '/v1/events', 405, 'GET'],
      ['GET', '/%ZZ', 400, undefined],
      ['GET', `/v1/revenue?city=${'x'.repeat(9000)}`, 414, undefined],
    ] as const) {
      const response = await app.inject({ method, url })
      expect([method, url.slice(0, 30), response.statusCode, response.headers.allow]).toEqual([method, url.slice(0, 30), status, allow])
      expect(response.headers['content-type']).toBe('application/json; charset=utf-8')
      if (method !== 'HEAD') expect([...Value.Errors(errorAnswer, response.json())]).toEqual([])
      expect(response.body).not.toMatch(/node_modules|at .*\.ts/)
    }
  })

  test('HEAD has the headers and no body', async () => {
    const response = await app.inject({ method: 'HEAD', url: '/v1/revenue' })
    expect([response.statusCode, response.body, typeof response.headers.etag]).toEqual([200, '', 'string'])
  })

  test('every answer is hardened, and no other origin is let in', async () => {
    for (const url of ['/', '/v1/revenue', '/v1/status', '/metrics', '/nothing']) {
      const { headers } = await get(url, { origin: 'https://evil.example' })
      expect(headers['x-content-type-options'], url).toBe('nosniff')
      expect(headers['content-security-policy'], url).toContain("default-src 'self'")
      expect(headers['content-security-policy'], url).not.toMatch(/unsafe|https?:/)
      expect(headers['access-control-allow-origin'], url).toBeUndefined()
      expect(headers['x-powered-by'], url).toBeUndefined()
    }
  })

  test('a page that is not built says so', async () => {
    const bare = await buildServer({ database: store.database, settings, clock, pageFolder: '/nonexistent' })
    const response = await bare.inject('/')
    expect([response.statusCode, response.headers['content-type']]).toEqual([503, 'text/plain; charset=utf-8'])
    expect(response.body).toContain('npm start')
    await bare.close()
  })

  describe('the files of the page', () => {
    let folder: string
    let port: number
    let serving: AsyncDisposable

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tidemark-page-'))
      await mkdir(join(folder, 'page', 'sub'), { recursive: true })
      for (const path of ['secret.txt', 'page/index.html', 'page/app-1.js', 'page/.hidden']) await writeFile(join(folder, path), `of ${path}`)
      const started = await startServing({ database: store.database, settings, clock, pageFolder: join(folder, 'page'), port: 0 })
      serving = started
      port = started.port
    })
    afterAll(async () => {
      await serving?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    })

    /** As it stands: `fetch` and `inject` would take the dots out first. */
    async function getPath(path: string, method = 'GET'): Promise<{ status: number | undefined; type: string | undefined; body: string }> {
      const sent = request({ host: '127.0.0.1', port, path, method, agent: false }).end()
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      return { status: response.statusCode, type: response.headers['content-type'], body: await text(response) }
    }

    test('are served, and nothing else', async () => {
      expect(await getPath('/')).toMatchObject({ status: 200, body: 'of page/index.html' })
      expect(await getPath('/app-1.js')).toMatchObject({ status: 200, body: 'of page/app-1.js' })
      const upward = ['/..', '/../secret.txt', '/../page/index.html', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '/%2e%2e%2fsecret.txt', '/..%5csecret.txt', '/sub/../../secret.txt', '/sub/%2e%2e/app-1.js', '/%252e%252e/secret.txt']
      const odd = ['//secret.txt', '//app-1.js', '/./app-1.js', '/sub//..//app-1.js', '/.hidden', '/sub/', '/nothing.js', `/${'x'.repeat(300)}`, '/app-1.js/', '/APP-1.js', '/*', `/v1/reports/..%2f..%2f..%2fsecret.txt`, '/v1/../../secret.txt']
      for (const path of [...upward, ...odd]) {
        const { status, type, body } = await getPath(path)
        expect([path, status, type]).toEqual([path, 404, 'application/json; charset=utf-8'])
        expect(JSON.parse(body), path).toEqual({ error: { code: 'not-found', message: 'There is nothing here. /openapi.json lists what there is.', details: {} } })
        expect(await getPath(path, 'HEAD'), path).toEqual({ status, type, body: '' })
      }
    })

    test(`whatever stands in a path, it leads out of the folder nowhere, and is never refused otherwise than by 400 or 404 (seed ${seed})`, async () => {
      const piece = fc.oneof(fc.constantFrom('..', '.', '', '%2e%2e', '..%2f', '%2f', '%5c..', '%00', '%252e', '%', '%c0%ae', 'sub', 'page', 'secret.txt', 'app-1.js', '~', '*'), fc.string({ unit: 'binary', maxLength: 8 }).map((some) => encodeURIComponent(some.toWellFormed())))
      await fc.assert(
        fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 5 }), async (pieces) => {
          const { status, body } = await getPath(`/${pieces.join('/')}`)
          if (status === 200) {
            expect(['of page/index.html', 'of page/app-1.js']).toContain(body)
            return
          }
          expect([400, 404]).toContain(status)
          expect([...Value.Errors(errorAnswer, JSON.parse(body))]).toEqual([])
        }),
        { seed, numRuns: 300 },
      )
    })
  })

  test('V4: beyond the bound on answers in flight there is a quick 503', async () => {
    const admission = new Admission(1)
    let finish = (): void => undefined
    const held = admission.admit(() => new Promise<void>((resolve) => (finish = resolve)))
    await expect(admission.admit(async () => 1)).rejects.toMatchObject({ code: 'unavailable' })
    finish()
    await held
    expect(await admission.admit(async () => 2)).toBe(2)
    expect([admission.running, admission.refused]).toEqual([0, 1])
  })

  test('the next free port is taken, and said', async () => {
    const options = { database: store.database, settings, clock }
    await using first = await startServing({ ...options, port: 0 })
    await using second = await startServing({ ...options, port: first.port })
    expect(second.port).toBeGreaterThan(first.port)
    expect((await fetch(`${second.url}/livez`)).status).toBe(200)
    expect((await fetch(`${first.url}/readyz`)).status).toBe(200)
  })
})

describe('health', () => {
  test('/metrics counts what the store counts', async () => {
    const { body } = await get('/metrics')
    expect(body).toContain('tidemark_database_up 1')
    expect(body).toContain('tidemark_freshness_seconds 2')
    expect(body).toContain('tidemark_batch 1')
    expect(body).toContain('tidemark_next_offset{topic="transactions",partition="0"} 10')
    expect(body).toContain('tidemark_flushes_total{worker="w1"} 5')
    expect(body).toContain('tidemark_fenced_flushes_total{worker="w1"} 1')
    expect(body).toContain('tidemark_dead_letters{reason="bad-time"} 1')
    expect(body).toMatch(/tidemark_http_request_duration_seconds_count\{route="\/v1\/revenue",method="GET",status="400"\} [1-9]/)
    const again = await get('/metrics')
    expect(again.body).toContain('tidemark_flushes_total{worker="w1"} 5')
  })

  test('/readyz sees a schema that is behind and a pointer to no batch', async () => {
    expect((await get('/readyz')).json()).toMatchObject({ ready: true, migrations: 'current', batch: 1 })
    const [name] = (await store.sql('DELETE FROM migrations WHERE id = (SELECT max(id) FROM migrations) RETURNING name, run_on')) as { name: string; run_on: Date }[]
    const behind = await get('/readyz')
    await store.sql('INSERT INTO migrations (name, run_on) VALUES ($1, $2)', [name!.name, name!.run_on])
    expect([behind.statusCode, behind.json().missing]).toEqual([503, [name!.name]])
    await store.sql(`UPDATE batches SET status = 'pruned' WHERE batch = 1`)
    const pruned = await get('/readyz')
    await store.sql(`UPDATE batches SET status = 'published' WHERE batch = 1`)
    expect([pruned.statusCode, pruned.json().ready]).toEqual([503, false])
    expect((await get('/readyz')).statusCode).toBe(200)
  })

  test('without a database: live, not ready, 503 with Retry-After, and no secrets', async () => {
    const lost = openDatabase({ url: 'postgres://someone:secret@127.0.0.1:1/none' })
    const server = await buildServer({ database: lost, settings, clock })
    expect((await server.inject('/livez')).statusCode).toBe(200)
    const ready = await server.inject('/readyz')
    expect([ready.statusCode, ready.json()]).toEqual([503, { ready: false, database: 'does not answer' }])
    for (const url of ['/v1/revenue', '/v1/products/top', '/v1/status']) {
      const response = await server.inject(url)
      expect([response.statusCode, response.headers['retry-after'], response.json().error.code]).toEqual([503, '1', 'unavailable'])
      expect(response.body).not.toMatch(/secret|127\.0\.0\.1/)
    }
    expect((await server.inject('/metrics')).body).toContain('tidemark_database_up 0')
    await server.close()
    await lost[Symbol.asyncDispose]()
  })
})

test('V6: an ETag changes with everything that an answer depends on, and 304 is said only where nothing did', async () => {
  const url = '/v1/revenue?by=city'
  const unmoved = async (tag: string) => (await get(url, { 'if-none-match': tag })).statusCode
  let last = await get(url)
  const seen = new Map([[last.headers.etag, last.body]])
  expect(await unmoved(last.headers.etag!)).toBe(304)
  expect(await unmoved(`W/${last.headers.etag!}, "other"`)).toBe(304)
  expect(await unmoved('*')).toBe(200)
  const notModified = await get(url, { 'if-none-match': last.headers.etag! })
  expect([notModified.body, notModified.headers.etag, notModified.headers['x-data-as-of']]).toEqual(['', last.headers.etag, '2025-01-01T00:29:58.000Z'])
  await store.batch(2, 2, [{ day: '2024-12-30', gross: '3' }])
  const changes: (() => Promise<unknown>)[] = [
    () => store.position(0, 11, Date.parse('2025-01-01T00:29:59Z')),
    () => store.position(1, 1, Date.parse('2025-01-01T00:29:59Z')),
    () => store.point(2),
    () => store.point(1),
    () => store.sql(`INSERT INTO stopped_partitions VALUES ('transactions', 0, 1, 2, 'gone')`),
    () => store.sql('DELETE FROM stopped_partitions'),
    () => store.sql('UPDATE committed_offsets SET refused = refused + 1, next_offset = next_offset + 1 WHERE partition = 0'),
    () => store.sql('UPDATE lake_state SET incarnation = gen_random_uuid()'),
  ]
  for (const [at, change] of changes.entries()) {
    await change()
    expect(await unmoved(last.headers.etag!), `change ${at}`).toBe(200)
    last = await get(url)
    // Back at an earlier state, the earlier tag is right, and the answer the same to the byte.
    expect(seen.get(last.headers.etag) ?? last.body, `change ${at}`).toBe(last.body)
    seen.set(last.headers.etag, last.body)
    expect(await unmoved(last.headers.etag!)).toBe(304)
  }
  expect(seen.size).toBe(changes.length)
})
