/** The adapter of Trino against a server, or something between, that does what Trino and proxies have been seen to do. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Lake, QueryEngine, QueryValue } from '#core/ports.ts'
import { openTrino } from '#engines/trino.ts'
import { waitUntil } from '../wait-until.ts'
import { MisbehavingTrino, column } from './misbehaving-trino.ts'
import type { Asked, Fault } from './misbehaving-trino.ts'

/** Out of the way of a slow machine; a test that waits for one of them to pass takes a shorter one. */
const limits = { requestTimeoutMs: 20_000, queryTimeoutMs: 40_000, retryBudgetMs: 20_000 }
/** By when anything must have ended that does not wait for those. */
const soonMs = 10_000
const lake = { location: (path: string) => `hdfs://h/${path}` } as Lake
const columns = [column('n', 'bigint'), column('city', 'varchar')]
const select = 'SELECT n, city FROM t'
const error = (errorName: string, errorType: string, message = 'as scripted', failureInfo?: unknown) => ({
  stats: { state: 'FAILED' },
  error: { errorName, errorType, message, errorCode: 1, ...(failureInfo === undefined ? {} : { failureInfo }) },
})
const first = { columns, data: [[1, 'a']] }

let trino: MisbehavingTrino
let engine: QueryEngine

beforeEach(async () => {
  trino = await MisbehavingTrino.open()
  engine = await openTrino({ url: trino.url, lake, limits })
})
afterEach(async () => {
  trino.fault = () => false
  await engine[Symbol.asyncDispose]()
  await trino[Symbol.asyncDispose]()
})

/** Takes the place of the engine that is open. */
async function limitTo(shorter: Partial<typeof limits>): Promise<void> {
  await engine[Symbol.asyncDispose]()
  engine = await openTrino({ url: trino.url, lake, limits: { ...limits, ...shorter } })
}

async function rows(): Promise<(readonly QueryValue[])[]> {
  const all: (readonly QueryValue[])[] = []
  for await (const batch of engine.query(select)) all.push(...batch.rows)
  return all
}

/** Applies to the scripted statement only. */
function faultAt(where: (asked: Asked) => boolean, fault: Fault): void {
  trino.fault = (asked, response, request) => asked.sql === select && where(asked) && fault(asked, response, request)
}

function status(code: number): Fault {
  return (_asked, response) => {
    response.writeHead(code, { 'Content-Type': 'text/plain' }).end('as scripted')
    return true
  }
}

describe('pages', () => {
  it('takes rows from the first answer, from pages without rows before and after, and from the last', async () => {
    trino.pages = [first, {}, { columns }, { columns, data: [[2, null]] }, { columns }, { columns, data: [[3, 'c']] }]
    expect(await rows()).toEqual([[1n, 'a'], [2n, null], [3n, 'c']])
    trino.pages = [{ columns }]
    expect(await rows()).toEqual([])
  })

  it('keeps every digit of an integer, and takes no digits in text for one', async () => {
    const long = [9_223_372_036_854_775_807n, -9_223_372_036_854_775_808n, 9_007_199_254_740_993n, 0n, -1n]
    const text = '],[9007199254740993,"\\ 12345678901234567890'
    trino.pages = [{ columns, data: long.map((n) => [n, text]) }]
    expect(await rows()).toEqual(long.map((n) => [n, text]))
  })

  it.each([
    ['the first answer', [error('SYNTAX_ERROR', 'USER_ERROR')]],
    ['a page before any rows', [{}, { columns }, error('SYNTAX_ERROR', 'USER_ERROR')]],
    ['a page after rows', [first, { columns, data: [[2, 'b']] }, error('SYNTAX_ERROR', 'USER_ERROR')]],
    ['a page that also has rows', [first, { ...error('SYNTAX_ERROR', 'USER_ERROR'), columns, data: [[2, 'b']] }]],
  ])('throws the error of %s', async (_, pages) => {
    trino.pages = pages
    await expect(rows()).rejects.toBeInstanceOf(InvalidRequestError)
  })

  it.each([
    ['an end that is none', [first, { columns, stats: { state: 'RUNNING' }, nextUri: null }]],
    ['an end without columns', [{}, {}]],
    ['rows without columns', [{}, { data: [[1, 'a']] }]],
    ['a row that is too short', [{ columns, data: [[1]] }]],
    ['a row that is none', [{ columns, data: [7] }]],
    ['a fraction for an integer', [{ columns, data: [[1.5, 'a']] }]],
    ['a number for text', [{ columns, data: [[1, 2]] }]],
    ['a page of HTML', [first, '<html><body>The proxy is being mended</body></html>']],
    ['HTML at once', ['<html></html>']],
    ['JSON of somebody else', [first, '{"status":"ok"}']],
    ['half a page', [first, '{"id":"q","stats":{"state":"RUNN']],
    ['nothing', [first, '']],
  ])('calls %s unavailable, and never ends the rows', async (_, pages) => {
    trino.pages = pages
    await expect(rows()).rejects.toBeInstanceOf(UnavailableError)
  })

  it('sends its credentials to no other host', async () => {
    await using stranger = await MisbehavingTrino.open()
    trino.pages = [{ columns, nextUri: `http://${stranger.host}/v1/page/0/1` }, first]
    await expect(rows()).rejects.toThrow(/is not http:\/\/127\.0\.0\.1/)
    expect(stranger.asked).toEqual([])
  })

  it('follows no redirect', async () => {
    trino.pages = [first, first]
    faultAt(({ page }) => page === 1, (_asked, response) => {
      response.writeHead(302, { Location: `http://${trino.host}/v1/page/0/1` }).end()
      return true
    })
    await expect(rows()).rejects.toBeInstanceOf(UnavailableError)
  })
})

describe('a server that is busy or away', () => {
  it.each([
    ['the statement', 'POST', 0],
    ['a page', 'GET', 1],
  ])('asks again for %s after 502, 503, 504, 429 and a broken connection', async (_, method, page) => {
    trino.pages = [first, { columns, data: [[2, 'b']] }]
    faultAt(
      (asked) => asked.method === method && asked.page === page && asked.times < 5,
      (asked, response, request) => {
        const code = [502, 503, 504, 429][asked.times]
        if (code === undefined) request.socket.resetAndDestroy()
        else response.writeHead(code).end()
        return true
      },
    )
    expect(await rows()).toEqual([[1n, 'a'], [2n, 'b']])
  })

  it('gives up within its budget, having asked now and then', async () => {
    await limitTo({ retryBudgetMs: 1_500 })
    trino.pages = [first, first]
    faultAt(({ page, method }) => page === 1 && method === 'GET', status(503))
    const start = performance.now()
    await expect(rows()).rejects.toBeInstanceOf(UnavailableError)
    expect(performance.now() - start).toBeLessThan(soonMs)
    const pages = trino.askedOf('GET').length
    expect(pages).toBeGreaterThan(3)
    expect(pages).toBeLessThan(14)
    expect(trino.askedOf('DELETE')).toHaveLength(1)
  })

  it('calls a page cut off half-way unavailable where it stays so', async () => {
    await limitTo({ retryBudgetMs: 600 })
    trino.pages = [first, first]
    let cuts = 0
    faultAt(({ page, method }) => page === 1 && method === 'GET', (_asked, response) => {
      cuts++
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '5000' })
      response.write('{"id":"q","stats":{"state":"FINISHED"},"columns":[],"data":[]}', () => response.destroy())
      return true
    })
    await expect(rows()).rejects.toBeInstanceOf(UnavailableError)
    expect(cuts).toBeGreaterThan(1)
  })

  it('waits no longer for one answer than it may', async () => {
    await limitTo({ requestTimeoutMs: 400 })
    trino.pages = [first, first]
    faultAt(({ page, method }) => page === 1 && method === 'GET', () => true)
    const start = performance.now()
    await expect(rows()).rejects.toThrow(/within 400 ms/)
    expect(performance.now() - start).toBeLessThan(soonMs)
    await waitUntil('the query is cancelled', () => trino.askedOf('DELETE').length === 1)
  })

  it('cancels a query that takes too long', async () => {
    await limitTo({ queryTimeoutMs: 2_000 })
    trino.pages = [{}, ...Array.from({ length: 10_000 }, () => ({ stats: { state: 'RUNNING' } })), first]
    await expect(rows()).rejects.toThrow(/within 2000 ms/)
    await waitUntil('the query is cancelled', () => trino.askedOf('DELETE').length === 1)
  })

  it('cancels a query whose rows nobody reads on', async () => {
    trino.pages = [first, first, first]
    for await (const batch of engine.query(select)) {
      expect(batch.rows).toEqual([[1n, 'a']])
      break
    }
    expect(trino.askedOf('DELETE')).toHaveLength(1)
  })

  it('cancels what runs when it is closed, and lets no reader take it for the end', async () => {
    trino.pages = [first, first]
    faultAt(({ page, method }) => page === 1 && method === 'GET', () => true)
    const failure = rows().catch((thrown: unknown) => thrown)
    const paused = engine.query(select)[Symbol.asyncIterator]()
    expect((await paused.next()).done).toBe(false)
    await waitUntil('the page is asked for', () => trino.askedOf('GET').length === 1)
    await engine[Symbol.asyncDispose]()
    expect(await failure).toBeInstanceOf(UnavailableError)
    await expect(paused.next()).rejects.toBeInstanceOf(UnavailableError)
    expect(trino.askedOf('DELETE')).toHaveLength(2)
  })

  it('says unavailable where nobody listens, at once', async () => {
    const { url } = trino
    await trino[Symbol.asyncDispose]()
    const start = performance.now()
    await expect(openTrino({ url, lake, limits })).rejects.toBeInstanceOf(UnavailableError)
    await expect(rows()).rejects.toBeInstanceOf(UnavailableError)
    expect(performance.now() - start).toBeLessThan(soonMs)
    trino = await MisbehavingTrino.open()
  })

  it.each([
    [401, ConfigError],
    [403, ConfigError],
    [404, UnavailableError],
    [410, UnavailableError],
    [500, UnavailableError],
    [400, UnavailableError],
  ])('makes of the status %i what the caller can do', async (code, kind) => {
    trino.pages = [first, first]
    faultAt(({ page, method }) => page === 1 && method === 'GET', status(code))
    await expect(rows()).rejects.toBeInstanceOf(kind)
  })
})

describe('errors of a query', () => {
  const hdfsAway = { type: 'io.trino.spi.TrinoException', message: 'x', cause: { type: 'java.net.ConnectException', message: 'Connection refused' } }
  const forbidden = { type: 'io.trino.spi.TrinoException', message: 'x', cause: { type: 'org.apache.hadoop.security.AccessControlException', message: 'Permission denied' } }
  const gone = { type: 'io.trino.spi.TrinoException', message: 'x', cause: { type: 'java.io.FileNotFoundException', message: 'File does not exist: /a' } }
  const inFormat = { type: 'java.lang.ArrayIndexOutOfBoundsException', message: '7', stack: ['io.trino.parquet.reader.decoders.X.read(X.java:1)'] }
  const inEngine = { type: 'java.lang.NullPointerException', message: '7', stack: ['io.trino.operator.X.read(X.java:1)'] }

  it.each([
    ['HIVE_CANNOT_OPEN_SPLIT', 'EXTERNAL', hdfsAway, UnavailableError],
    ['HIVE_CANNOT_OPEN_SPLIT', 'EXTERNAL', gone, CorruptError],
    ['HIVE_CANNOT_OPEN_SPLIT', 'EXTERNAL', undefined, CorruptError],
    ['HIVE_CANNOT_OPEN_SPLIT', 'EXTERNAL', forbidden, ConfigError],
    ['INVALID_TABLE_PROPERTY', 'USER_ERROR', forbidden, ConfigError],
    ['INVALID_TABLE_PROPERTY', 'USER_ERROR', hdfsAway, UnavailableError],
    ['INVALID_TABLE_PROPERTY', 'USER_ERROR', undefined, ConfigError],
    ['HIVE_BAD_DATA', 'EXTERNAL', undefined, CorruptError],
    ['HIVE_CURSOR_ERROR', 'EXTERNAL', hdfsAway, UnavailableError],
    ['HIVE_CURSOR_ERROR', 'EXTERNAL', undefined, CorruptError],
    ['HIVE_FILESYSTEM_ERROR', 'EXTERNAL', undefined, UnavailableError],
    ['HIVE_FILE_NOT_FOUND', 'EXTERNAL', undefined, CorruptError],
    ['HIVE_METASTORE_ERROR', 'EXTERNAL', undefined, UnavailableError],
    ['GENERIC_INTERNAL_ERROR', 'INTERNAL_ERROR', inFormat, CorruptError],
    ['GENERIC_INTERNAL_ERROR', 'INTERNAL_ERROR', inEngine, UnavailableError],
    ['EXCEEDED_LOCAL_MEMORY_LIMIT', 'INSUFFICIENT_RESOURCES', undefined, UnavailableError],
    ['QUERY_QUEUE_FULL', 'INSUFFICIENT_RESOURCES', undefined, UnavailableError],
    ['SERVER_STARTING_UP', 'INTERNAL_ERROR', undefined, UnavailableError],
    ['USER_CANCELED', 'USER_ERROR', undefined, UnavailableError],
    ['ADMINISTRATIVELY_KILLED', 'USER_ERROR', undefined, UnavailableError],
    ['PERMISSION_DENIED', 'USER_ERROR', undefined, ConfigError],
    ['TABLE_NOT_FOUND', 'USER_ERROR', undefined, InvalidRequestError],
    ['DIVISION_BY_ZERO', 'USER_ERROR', undefined, InvalidRequestError],
  ])('makes of %s (%s) what the caller can do', async (name, type, failureInfo, kind) => {
    trino.pages = [{ columns }, error(name, type, 'as scripted', failureInfo)]
    await expect(rows()).rejects.toBeInstanceOf(kind)
  })
})
