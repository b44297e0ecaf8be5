/** What is kept of the past over HTTP: batches, frozen reports with their files, restatements, dead letters. On a lab with two batches and a late sale. */
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freezeReport, refreshReports } from '#batch/reports.ts'
import { UnavailableError } from '#core/errors.ts'
import { buildServer } from '#serving/server.ts'
import { errorAnswer } from '#serving/schemas.ts'
import {
  batchAnswer,
  batchesAnswer,
  diffAnswer,
  letterAnswer,
  lettersAnswer,
  reportAnswer,
  reportsAnswer,
  restatementEventsAnswer,
  restatementsAnswer,
} from '#serving/schemas-history.ts'
import { rollBack } from '#store/batches.ts'
import { readReportFiles, readReportText } from '#store/reports.ts'
import { refund, refused, runBatchWith, sale } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { labReportOptions } from '#test/lab/reports.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_007)
const settings = { zone: 'Europe/London', currency: 'GBP', booksOpenOn: '2023-01-01', version: '9.9.9', ledgerIdsMax: 100_000 }
const longLine = `"${'x'.repeat(1_000)}`

let lab: Lab
let app: FastifyInstance

async function publish(): Promise<void> {
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
  await runBatchWith(lab)
}

beforeAll(async () => {
  lab = await openLab()
  app = await buildServer({ database: lab.database, settings, clock: Date.now, lake: lab.lake })
  await lab.append([
    sale({ id: '1', day: '2025-03-01', city: 'London', category: 'Home', product: 'P1', quantity: 2, unitMinor: 1050 }),
    sale({ id: '2', day: '2025-03-31', city: 'Leeds', category: 'Toys', product: 'P2', unitMinor: 999, partition: 1 }),
    sale({ id: '3', day: '2025-02-28', city: 'Bath', category: 'Home', product: 'P3', unitMinor: 500 }),
    refused(Buffer.from([0x61, 0x5c, 0xff, 0x00, 0xe2, 0x80, 0xae]), 1),
    refused(Buffer.from(longLine), 2),
  ])
  await publish()
  const options = labReportOptions(lab)
  for (const [kind, period] of [['monthly', '2025-02'], ['monthly', '2025-03'], ['quarterly', '2025-Q1'], ['seasonal', '2025-spring'], ['yearly', '2025'], ['monthly', '2024-06']] as const) await freezeReport(options, { kind, period })
  await lab.append([
    sale({ id: '7', day: '2025-03-05', city: 'York', category: 'Garden', product: 'P9', quantity: 3, unitMinor: 333 }),
    refund({ id: 'r-2', day: '2025-03-31', city: 'Leeds', category: 'Toys', product: 'P2', refundOf: '2', totalMinor: 500 }),
  ])
  await publish()
  await refreshReports(options)
})
afterAll(async () => {
  await app?.close()
  await lab?.[Symbol.asyncDispose]()
})

const get = async (url: string, headers: Record<string, string> = {}) => app.inject({ url, headers })

/** Every row of a listing, by its pages. */
async function readAll(url: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = []
  for (let next: string | null = url, pages = 0; next !== null && pages < 100; pages++) {
    const response = await get(next)
    expect([next, response.statusCode]).toEqual([next, 200])
    const page = response.json() as { rows: Record<string, unknown>[]; next: string | null }
    rows.push(...page.rows)
    next = page.next
  }
  return rows
}

const listings: [string, TSchema, number][] = [
  ['/v1/batches', batchesAnswer, 3],
  ['/v1/reports', reportsAnswer, 6],
  ['/v1/reports?versions=all', reportsAnswer, 10],
  ['/v1/restatements', restatementsAnswer, 4],
  ['/v1/restatements/monthly/2025-03/2/events', restatementEventsAnswer, 2],
  ['/v1/dead-letters', lettersAnswer, 2],
]

test.each(listings)('%s answers as its schema says, and its pages of any size are the whole, each row once', async (url, schema, length) => {
  const response = await get(url)
  expect([response.statusCode, response.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8'])
  expect([...Value.Errors(schema, response.json())]).toEqual([])
  const { rows, next } = response.json()
  expect([rows.length, next]).toEqual([length, null])
  for (const limit of [1, 2, length]) expect(await readAll(`${url}${url.includes('?') ? '&' : '?'}limit=${limit}`)).toEqual(rows)
  expect((await get(url, { 'if-none-match': response.headers.etag! })).statusCode).toBe(304)
  expect((await app.inject({ method: 'POST', url })).statusCode).toBe(405)
})

test.each<[string, TSchema]>([
  ['/v1/batches/2', batchAnswer],
  ['/v1/batches/0', batchAnswer],
  ['/v1/reports/monthly/2025-03', reportAnswer],
  ['/v1/reports/monthly/2025-03?version=1', reportAnswer],
  ['/v1/reports/monthly/2024-06', reportAnswer],
  ['/v1/reports/monthly/2025-03/diff', diffAnswer],
  ['/v1/dead-letters/1', letterAnswer],
])('%s answers as its schema says', async (url, schema) => {
  const response = await get(url)
  expect(response.statusCode).toBe(200)
  expect([...Value.Errors(schema, response.json())]).toEqual([])
})

test.each([
  ['/v1/batches/77', /\/v1\/batches lists/],
  ['/v1/reports/monthly/2031-01', /\/v1\/reports\?kind=monthly lists.*tidemark report monthly 2031-01/],
  ['/v1/reports/monthly/2025-03?version=9', /no version 9: its newest is 2/],
  ['/v1/reports/monthly/2025-03/diff?from=7', /no version 7/],
  ['/v1/reports/monthly/2025-03/files/restatement?version=1', /has no restatement file. It has csv, html, json, parquet/],
  [`/v1/reports/monthly/2025-03/files/html?sha256=${'0'.repeat(64)}`, /another file/],
  ['/v1/restatements/monthly/2025-03/1/events', /restates nothing/],
  ['/v1/restatements/monthly/2025-03/5/events', /no version 5/],
  ['/v1/dead-letters/99', /\/v1\/dead-letters lists/],
] as const)('%s is a 404 that says where to look', async (url, says) => {
  const response = await get(url)
  expect(response.statusCode).toBe(404)
  expect([...Value.Errors(errorAnswer, response.json())]).toEqual([])
  expect(response.json().error).toMatchObject({ code: 'not-found', message: expect.stringMatching(says) })
})

describe('batches', () => {
  test('a batch says what it covers, how it was checked, and since when it serves', async () => {
    const [second, first, empty] = await readAll('/v1/batches')
    expect(second).toMatchObject({ batch: 2, status: 'published', kind: 'incremental', isServing: true, baseBatch: 1, horizon: { [lab.topic]: { 0: 4, 1: 2, 2: 1 } }, crossCheck: { result: 'exact', corrections: 0, keysDiffering: 0 }, message: null })
    expect(first).toMatchObject({ batch: 1, isServing: false, horizon: { [lab.topic]: { 0: 2, 1: 2, 2: 1 } } })
    expect(second!['durationMs']).toBeGreaterThan(0)
    expect(empty).toMatchObject({ batch: 0, kind: 'empty', publishedAt: null, crossCheck: null, horizon: {} })
    const detail = (await get('/v1/batches/1')).json()
    expect(detail.servedFrom).toEqual([detail.publishedAt])
    expect(detail.crossCheckDetail).toMatchObject({ result: 'exact', unexplainedKeys: [] })
  })
})

describe('reports', () => {
  test('the list gives the newest version with its totals, latest periods first; the period before stands beside', async () => {
    const rows = await readAll('/v1/reports')
    expect(rows.map(({ kind, period, version }) => `${String(kind)} ${String(period)} v${String(version)}`)).toEqual([
      'yearly 2025 v2',
      'seasonal 2025-spring v2',
      'monthly 2025-03 v2',
      'quarterly 2025-Q1 v2',
      'monthly 2025-02 v1',
      'monthly 2024-06 v1',
    ])
    expect(rows[2]).toMatchObject({
      from: '2025-03-01',
      to: '2025-04-01',
      batch: 2,
      restatesEvents: 2,
      totals: [{ currency: 'GBP', netMinor: '3598', net: '35.98', gross: '40.98', before: { net: '5.00' }, yearBefore: { net: '0.00' } }],
      href: '/v1/reports/monthly/2025-03?version=2',
    })
    expect(rows[5]!['totals']).toEqual([])
    expect((await readAll('/v1/reports?kind=monthly&period=2025-0')).map(({ period }) => period)).toEqual(['2025-03', '2025-02'])
    expect((await readAll('/v1/reports?kind=monthly&period=2025-03&versions=all')).map(({ version }) => version)).toEqual([2, 1])
  })

  test('the frozen document goes out byte for byte, of the newest version unless another is named', async () => {
    for (const version of [1, 2]) {
      const { body } = await get(`/v1/reports/monthly/2025-03?version=${version}`)
      expect(body).toContain((await readReportText(lab.database.pool, 'monthly', '2025-03', version)).trimEnd())
    }
    expect((await get('/v1/reports/monthly/2025-03')).body).toBe((await get('/v1/reports/monthly/2025-03?version=2')).body)
    expect((await get('/v1/reports/monthly/2025-03?version=1')).json().links).toEqual({
      self: '/v1/reports/monthly/2025-03?version=1',
      versions: '/v1/reports?kind=monthly&period=2025-03&versions=all',
      differences: null,
      events: null,
    })
  })

  test('every link of a report leads to what it says, and each file has the length and the checksum that stand beside it', async () => {
    const { files, links } = (await get('/v1/reports/monthly/2025-03')).json()
    for (const href of Object.values(links as Record<string, string>)) expect([href, (await get(href)).statusCode]).toEqual([href, 200])
    const types: Record<string, string> = {}
    for (const { format, href, bytes, sha256, contentType } of files) {
      const response = await get(href)
      expect([format, response.statusCode, response.rawPayload.length, createHash('sha256').update(response.rawPayload).digest('hex')]).toEqual([format, 200, bytes, sha256])
      expect(response.headers).toMatchObject({ 'content-type': contentType, 'cache-control': 'private, max-age=31536000, immutable', etag: `"${sha256}"`, 'x-content-type-options': 'nosniff' })
      expect(response.headers['content-disposition']).toMatch(format === 'html' ? /^inline; filename="tidemark-monthly-2025-03-v2.html"/ : /^attachment; filename="tidemark-monthly-2025-03-v2\./)
      expect(response.headers['content-security-policy']).toMatch(/^default-src 'none';.*sandbox$/)
      expect(response.headers['content-security-policy']).not.toMatch(/script|https?:|\*/)
      expect((await get(href, { 'if-none-match': `"${sha256}"` })).statusCode).toBe(304)
      // Without the checksum in the address it may change: after a restore a version may be frozen again.
      expect((await get(href.replace(/&sha256=.*/, ''))).headers['cache-control']).toBe('private, no-cache')
      types[format] = contentType
    }
    expect(Object.keys(types).sort()).toEqual(['csv', 'html', 'json', 'parquet', 'restatement'])
    const head = await app.inject({ method: 'HEAD', url: files[0].href })
    expect([head.statusCode, head.body]).toEqual([200, ''])
  })

  test('two versions differ in the lines that the late events touch', async () => {
    const { rows, from, to } = (await get('/v1/reports/monthly/2025-03/diff')).json()
    expect([from, to]).toEqual([1, 2])
    const cities = rows.filter((row: { section: string }) => row.section === 'city').map((row: { city: string; asPublished: { net: string }; asKnownNow: { net: string }; difference: { net: string } }) => [row.city, row.asPublished.net, row.asKnownNow.net, row.difference.net])
    expect(cities.sort()).toEqual([
      ['Leeds', '9.99', '4.99', '-5.00'],
      ['York', '0.00', '9.99', '9.99'],
    ])
    expect((await get('/v1/reports/monthly/2025-03/diff?from=2&to=2')).json().rows).toEqual([])
  })
})

describe('restatements', () => {
  test('each says by how much the period moved, and why; its events add up to it', async () => {
    const rows = await readAll('/v1/restatements?kind=monthly')
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({
      kind: 'monthly',
      period: '2025-03',
      version: 2,
      ofVersion: 1,
      eventCount: 2,
      totals: [{ currency: 'GBP', asPublished: { net: '30.99' }, asKnownNow: { net: '35.98' }, difference: { net: '4.99' } }],
      causes: [
        { reason: 'late sale', events: 1, difference: { net: '9.99' } },
        { reason: 'late refund', events: 1, difference: { net: '-5.00' } },
      ],
    })
    const events = await readAll(String(rows[0]!['events']))
    expect(events.map(({ eventId, kind, total }) => [eventId, kind, total])).toEqual([
      ['7', 'sale', '9.99'],
      ['r-2', 'refund', '5.00'],
    ])
    expect((await get(String(rows[0]!['report']))).statusCode).toBe(200)
  })

  test('since takes those published at or after a time', async () => {
    const all = await readAll('/v1/restatements')
    const times = all.map((row) => String(row['publishedAt'])).sort()
    const ofTimes = async (since: string): Promise<number> => (await readAll(`/v1/restatements?since=${since}`)).length
    expect(await ofTimes(times[0]!)).toBe(4)
    expect(await ofTimes(times.at(-1)!)).toBe(times.filter((time) => time === times.at(-1)).length)
    expect(await ofTimes(new Date(Date.parse(times.at(-1)!) + 1).toISOString())).toBe(0)
    expect((await readAll('/v1/restatements?period=2025-0')).map(({ period }) => period)).toEqual(['2025-03'])
  })
})

describe('dead letters', () => {
  test('newest first, with counts; what is not UTF-8 or would be obeyed shows as what it is, and a long record is cut with its length said', async () => {
    const { rows, counts } = (await get('/v1/dead-letters')).json()
    expect(rows.map((row: { id: number }) => row.id)).toEqual([2, 1])
    const bad = rows.find((row: { partition: number }) => row.partition === 1)
    expect(bad).toMatchObject({ topic: lab.topic, offset: 1, bytes: 7, text: 'a\\\\\\xff\\u0000\\u202e', foundBy: 'speed' })
    const long = rows.find((row: { partition: number }) => row.partition === 2)
    expect([long.bytes, long.text.length]).toEqual([1_001, 200])
    expect((await get(`/v1/dead-letters/${long.id}`)).json()).toMatchObject({ text: longLine, isCut: false, bytes: 1_001 })
    expect(counts.reduce((sum: number, one: { letters: number }) => sum + one.letters, 0)).toBe(2)
    for (const { reason } of rows) expect((await readAll(`/v1/dead-letters?reason=${reason}&topic=${lab.topic}`)).every((row) => row['reason'] === reason)).toBe(true)
    expect(await readAll('/v1/dead-letters?topic=other')).toEqual([])
    expect((await get('/v1/dead-letters?topic=other')).json().counts).toEqual([])
  })
})

describe('refusals', () => {
  test.each([
    '/v1/batches?limit=0',
    '/v1/batches?limit=201',
    '/v1/batches?limit=99999999999999999999',
    '/v1/batches?cursor=x',
    `/v1/batches?cursor=${Buffer.from('["a"]').toString('base64url')}`,
    `/v1/batches?cursor=${Buffer.from('[9007199254740993]').toString('base64url')}`,
    '/v1/batches?status=held',
    '/v1/batches/-1',
    '/v1/batches/1e3',
    '/v1/reports?kind=daily',
    '/v1/reports?versions=1',
    '/v1/reports?period=%25',
    '/v1/reports?period=..',
    `/v1/reports?cursor=${Buffer.from('["0000-01-01","2025-01-01","monthly","x",1]').toString('base64url')}`,
    `/v1/reports?cursor=${Buffer.from('["2025-01-01","2025-01-01","monthly","\\u0000",1]').toString('base64url')}`,
    `/v1/reports?cursor=${Buffer.from('["2025-01-01","2025-01-01","monthly","x",2147483648]').toString('base64url')}`,
    `/v1/restatements?cursor=${Buffer.from('[9007199254740991,"monthly","x",1]').toString('base64url')}`,
    '/v1/reports/daily/2025-03',
    '/v1/reports/monthly/%00',
    '/v1/reports/monthly/2025-%00',
    '/v1/reports/monthly/..%2F..%2Fmarks',
    '/v1/reports/monthly/2025-03?version=0',
    '/v1/reports/monthly/2025-03?version=2147483648',
    '/v1/reports/monthly/2025-03/files/exe',
    '/v1/reports/monthly/2025-03/files/..%2F..%2F..%2Fetc%2Fpasswd',
    '/v1/reports/..%2F..%2F/2025-03/files/html',
    '/v1/reports/monthly/2025-03/files/html?sha256=abc',
    '/v1/reports/monthly/2025-03/files/html?path=/etc/passwd',
    '/v1/restatements?since=2025-01-01',
    '/v1/restatements/monthly/2025-03/0/events',
    '/v1/restatements/monthly/2025-03/x/events',
    '/v1/dead-letters?reason=%27',
    '/v1/dead-letters?topic=%00',
    '/v1/dead-letters/0',
  ])('%s is a 400 that says what to change', async (url) => {
    const response = await get(url)
    expect(response.statusCode).toBe(400)
    expect([...Value.Errors(errorAnswer, response.json())]).toEqual([])
    expect(response.json().error.message.length).toBeGreaterThan(20)
  })

  test(`whatever stands in a path or a parameter, there is never a 500, and no file but the reports’ own (seed ${seed})`, async () => {
    const nasty = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.constantFrom('..', '../..', '..\\..', './', '/etc/passwd', '%2e%2e%2f', '\u0000', "' OR 1=1 --", '-1', '1e9', '9'.repeat(30), '2025-03', 'monthly', 'html', '__proto__', 'constructor', 'toString', '\u202e', '2025-', '*'),
    )
    const encoded = nasty.map((text) => encodeURIComponent(text.toWellFormed()))
    const path = fc.oneof(
      encoded.map((one) => `/v1/batches/${one}`),
      encoded.map((one) => `/v1/dead-letters/${one}`),
      fc.tuple(encoded, encoded).map(([kind, period]) => `/v1/reports/${kind}/${period}`),
      fc.tuple(encoded, encoded, encoded).map(([kind, period, format]) => `/v1/reports/${kind}/${period}/files/${format}`),
      encoded.map((period) => `/v1/reports/monthly/${period}/diff`),
      encoded.map((format) => `/v1/reports/monthly/2025-03/files/${format}`),
      fc.tuple(encoded, encoded).map(([period, version]) => `/v1/restatements/monthly/${period}/${version}/events`),
      fc.constantFrom('/v1/batches', '/v1/reports', '/v1/restatements', '/v1/dead-letters', '/v1/reports/monthly/2025-03', '/v1/reports/monthly/2025-03/files/html'),
    )
    const names = fc.constantFrom('limit', 'cursor', 'kind', 'period', 'versions', 'version', 'since', 'reason', 'topic', 'from', 'to', 'sha256', 'asOf')
    const cursors = fc.array(fc.oneof(nasty, fc.integer(), fc.double(), fc.constant(null)), { maxLength: 5 }).map((values) => Buffer.from(JSON.stringify(values)).toString('base64url'))
    await fc.assert(
      fc.asyncProperty(path, fc.array(fc.tuple(names, fc.oneof(encoded, cursors)), { maxLength: 2 }), async (address, pairs) => {
        // Two dots and an event stream never ends.
        fc.pre(new URL(address, 'http://localhost').pathname !== '/v1/events')
        const response = await get(`${address}?${pairs.map(([name, value]) => `${name}=${value}`).join('&')}`)
        expect([200, 400, 404, 414]).toContain(response.statusCode)
        if (response.statusCode === 200) return
        expect([...Value.Errors(errorAnswer, response.json())]).toEqual([])
        expect(response.json().error.message).not.toMatch(/node_modules|SELECT|syntax/)
      }),
      { seed, numRuns: 500 },
    )
  })
})

describe('a lake that fails', () => {
  test('bytes that are not those that were frozen are never served, whole or in part, and come back once the file is put back', async () => {
    const [file] = (await readReportFiles(lab.database.pool, { kind: 'quarterly', period: '2025-Q1', version: 2 })).filter((one) => one.format === 'html')
    const path = join(lab.lakeRoot, file!.path)
    const whole = await readFile(path)
    const url = '/v1/reports/quarterly/2025-Q1/files/html?version=2'
    const flipped = Buffer.from(whole)
    flipped[flipped.length - 2]! ^= 1
    for (const bytes of [flipped, whole.subarray(0, -1), Buffer.concat([whole, Buffer.from('x')]), Buffer.alloc(0)]) {
      await writeFile(path, bytes)
      const response = await get(url)
      expect(response.statusCode).toBe(500)
      expect(response.json().error.code).toBe('corrupt')
      expect(response.headers['cache-control']).toBe('no-store')
      expect(response.headers.etag).toBeUndefined()
    }
    await writeFile(path, whole)
    expect((await get(url)).statusCode).toBe(200)
    expect((await get('/v1/reports/quarterly/2025-Q1')).statusCode).toBe(200)
  })

  test('a lake that does not answer is a 503 for the files alone, without a word of its driver', async () => {
    const away = new Proxy(lab.lake, {
      get: (lake, name) => (name === 'get' ? async () => Promise.reject(new UnavailableError('10.1.2.3 refused', {}, new Error('secret-host'))) : (Reflect.get(lake, name) as unknown)),
    })
    const server = await buildServer({ database: lab.database, settings, clock: Date.now, lake: away })
    const response = await server.inject('/v1/reports/monthly/2025-03/files/html')
    expect([response.statusCode, response.headers['retry-after'], response.headers.etag]).toEqual([503, '1', undefined])
    expect(response.json().error.message).toMatch(/lake/)
    expect(response.body).not.toMatch(/10\.1\.2\.3|secret/)
    expect((await server.inject('/v1/reports/monthly/2025-03')).statusCode).toBe(200)
    await server.close()
    const without = await buildServer({ database: lab.database, settings, clock: Date.now })
    expect((await without.inject('/v1/reports/monthly/2025-03/files/html')).statusCode).toBe(503)
    await without.close()
  })
})

test('after a roll-back the list says which batch serves, and each time that it began to', async () => {
  await rollBack(lab.database)
  expect((await readAll('/v1/batches')).map(({ batch, isServing }) => [batch, isServing])).toEqual([
    [2, false],
    [1, true],
    [0, false],
  ])
  expect((await get('/v1/batches/1')).json().servedFrom).toHaveLength(2)
})
