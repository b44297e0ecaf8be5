/**
 * A stand-in for the server, for what a real shop shows too rarely to wait for: a part that fails, a blocked stream, several currencies, a
 * range that is missing. It keeps sales in memory and answers the routes of the page; what the figures are is not its affair.
 */
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'

export type Sale = {
  readonly day: string
  readonly hour: number
  readonly city: string
  readonly category: string
  readonly productId: string
  readonly productName: string
  readonly currency: string
  readonly quantity: number
  readonly totalMinor: number
  readonly refund?: boolean
}

export type StandInFaults = {
  /** Paths that answer 503, by their beginning. */
  failing: string[]
  streamBlocked: boolean
  /** The stream opens and says nothing, as behind a proxy that holds back. */
  streamSilent: boolean
  missing: { topic: string; partition: number; from: number; to: number; reason: string }[]
}

const types: Readonly<Record<string, string>> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }

export class StandIn {
  readonly faults: StandInFaults = { failing: [], streamBlocked: false, streamSilent: false, missing: [] }
  /** Rows of the frozen reports and of what became of them. */
  readonly history: Record<'/v1/reports' | '/v1/restatements', unknown[]> = { '/v1/reports': [], '/v1/restatements': [] }
  readonly #pageDir: string
  readonly #today: string
  readonly #sales: Sale[]
  readonly #streams = new Set<ServerResponse>()
  /** Sales below this index are the batch layer's. */
  readonly #horizon: number
  #asOfMs: number
  #minutes: { atMs: number; sale: Sale }[] = []
  #server: Server | null = null
  #port = 0

  constructor(pageDir: string, today: string, sales: readonly Sale[] = [], minutes: readonly { atMs: number; sale: Sale }[] = []) {
    this.#pageDir = pageDir
    this.#today = today
    this.#sales = [...sales]
    this.#horizon = sales.length
    this.#minutes = [...minutes]
    this.#asOfMs = Date.now()
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`
  }

  /** On the port of the first start, so that a page finds it again. */
  async start(): Promise<void> {
    this.#server = createServer((request, response) => void this.#answer(request, response))
    await new Promise<void>((resolve) => this.#server!.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = null
    server?.closeAllConnections()
    await new Promise((resolve) => (server === null ? resolve(null) : server.close(resolve)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  sell(...sales: readonly Sale[]): void {
    this.#asOfMs = Date.now()
    this.#sales.push(...sales)
    for (const sale of sales) this.#minutes.push({ atMs: this.#asOfMs, sale })
    for (const stream of this.#streams) this.#send(stream)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url)
    response.setHeader('content-security-policy', "default-src 'self'")
    if (this.faults.failing.some((start) => `${url.pathname}${url.search}`.startsWith(start))) {
      return json(response, 503, { error: { code: 'unavailable', message: 'The database does not answer.', details: {} } })
    }
    if (url.pathname === '/v1/events') return this.#openStream(response)
    const rows = this.#rowsOf(url)
    if (url.pathname === '/v1/status') return json(response, 200, this.#status())
    if (url.pathname === '/v1/reports' || url.pathname === '/v1/restatements') return json(response, 200, { rows: this.history[url.pathname], next: null })
    if (rows !== null) return json(response, 200, { rows, receipt: this.#receipt() })
    const name = url.pathname === '/' ? 'index.html' : url.pathname.slice(1)
    const body = await readFile(join(this.#pageDir, name)).catch(() => null)
    if (body === null) return json(response, 404, { error: { code: 'invalid-request', message: 'No such page.' } })
    response.writeHead(200, { 'content-type': types[extname(name)] ?? 'application/octet-stream' }).end(body)
  }

  #openStream(response: ServerResponse): void {
    if (this.faults.streamBlocked) return json(response, 503, { error: { code: 'unavailable', message: 'No streams here.' } })
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    if (this.faults.streamSilent) return void response.write(': silence\n\n')
    this.#streams.add(response)
    response.on('close', () => this.#streams.delete(response))
    this.#send(response)
  }

  #send(stream: ServerResponse): void {
    const today = this.#sales.filter((sale) => sale.day === this.#today)
    const data = {
      receipt: this.#receipt(),
      today: { total: groupBy(today, []), revenueByCity: groupBy(today, ['city']), revenueByCategory: groupBy(today, ['category']) },
      top: { day: topOf(today), month: topOf(this.#since(this.#today.slice(0, 7))), season: topOf(this.#sales.slice(-4000)) },
      minutes: this.#minuteRows(),
    }
    stream.write(`event: figures\nid: 7.0:${this.#sales.length}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  #rowsOf({ pathname, searchParams: query }: URL): unknown[] | null {
    const from = query.get('from') ?? ''
    const to = query.get('to') ?? '9999'
    const within = this.#sales.filter(({ day }) => day >= from && day < to)
    if (pathname === '/v1/revenue') return groupBy(within, (query.get('by') ?? '').split(',').filter((key) => key !== ''))
    if (pathname === '/v1/pace') return groupBy(within, ['weekday', 'hour'])
    if (pathname === '/v1/minutes') return this.#minuteRows()
    if (pathname !== '/v1/products/top') return null
    return topOf(query.has('season') ? this.#sales.slice(-4000) : this.#since(query.get('day') ?? query.get('month') ?? ''))
  }

  #since(start: string): Sale[] {
    return this.#sales.filter(({ day }) => day.startsWith(start))
  }

  #minuteRows(): unknown[] {
    const byMinute = Map.groupBy(this.#minutes, ({ atMs, sale }) => `${new Date(Math.floor(atMs / 60_000) * 60_000).toISOString().slice(0, 19)}Z|${sale.currency}`)
    return [...byMinute].map(([key, entries]) => {
      const { transactions, grossMinor, refundsMinor } = measure(entries.map(({ sale }) => sale))
      const [minute, currency] = key.split('|')
      return { minute, currency, transactions, grossMinor, refundsMinor }
    })
  }

  #receipt() {
    const today = this.#sales.map((sale, index) => ({ sale, index })).filter(({ sale }) => sale.day === this.#today)
    const share = (sales: readonly Sale[]) => ({ events: sales.length, netMinorByCurrency: Object.fromEntries(groupBy(sales, []).map((row) => [row.currency, row.netMinor])) })
    const empty = this.#sales.length === 0
    return {
      incarnation: 'a1b2c3',
      batch: empty ? { id: 0, publishedAt: null } : { id: 7, publishedAt: `${this.#today}T02:10:00Z` },
      horizon: { transactions: { 0: this.#horizon } },
      position: { transactions: { 0: this.#sales.length } },
      asOf: empty ? null : new Date(this.#asOfMs).toISOString(),
      fromBatch: share(today.filter(({ index }) => index < this.#horizon).map(({ sale }) => sale)),
      fromSpeed: share(today.filter(({ index }) => index >= this.#horizon).map(({ sale }) => sale)),
      deduplication: { windowIds: 8_000_000, scope: 'per worker, per partition' },
      lateEvents: 214,
      refusedEvents: 35,
      copies: 1203,
      conflicts: 2,
      crossCheck: { batch: 7, result: 'exact', corrections: 0, checkedAt: `${this.#today}T02:10:00Z` },
      complete: this.faults.missing.length === 0,
      missing: this.faults.missing,
    }
  }

  #status() {
    const partitions = [{ topic: 'transactions', partition: 0, nextOffset: this.#sales.length, logEnd: this.#sales.length }]
    return { version: '0.1.0', incarnation: 'a1b2c3', zone: 'Europe/London', currency: 'GBP', today: this.#today, speed: { partitions }, stopped: [] }
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

type Keyed = Record<string, string | number>

function keysOf(sale: Sale, by: readonly string[]): Keyed {
  const weekday = ((new Date(sale.day).getUTCDay() + 6) % 7) + 1
  const all: Keyed = { day: sale.day, month: sale.day.slice(0, 7), season: '2026-autumn', city: sale.city, category: sale.category, weekday, hour: sale.hour }
  return Object.fromEntries(by.map((key) => [key, all[key]!]))
}

function groupBy(sales: readonly Sale[], by: readonly string[]) {
  const groups = Map.groupBy(sales, (sale) => JSON.stringify([...Object.values(keysOf(sale, by)), sale.currency]))
  return [...groups.keys()].toSorted().map((key) => {
    const group = groups.get(key)!
    return { ...keysOf(group[0]!, by), currency: group[0]!.currency, ...measure(group) }
  })
}

function topOf(sales: readonly Sale[]) {
  const byCurrency = Map.groupBy(sales, ({ currency }) => currency)
  return [...byCurrency].flatMap(([currency, some]) =>
    [...Map.groupBy(some, ({ productId }) => productId)]
      .map(([productId, group]) => ({ productId, productName: group[0]!.productName, currency, ...measure(group) }))
      .toSorted((a, b) => b.unitsSold - a.unitsSold)
      .slice(0, 5)
      .map((row, index) => ({ rank: index + 1, ...row })),
  )
}

function measure(sales: readonly Sale[]) {
  const sold = sales.filter((sale) => sale.refund !== true)
  const refunded = sales.filter((sale) => sale.refund === true)
  const sum = (some: readonly Sale[]): number => some.reduce((total, { totalMinor }) => total + totalMinor, 0)
  const units = (some: readonly Sale[]): number => some.reduce((total, { quantity }) => total + quantity, 0)
  const money = { gross: sum(sold), refunds: sum(refunded), net: sum(sold) - sum(refunded) }
  const amounts = Object.entries(money).flatMap(([name, minor]) => [[`${name}Minor`, String(minor)], [name, (minor / 100).toFixed(2)]] as const)
  return {
    transactions: sold.length,
    orders: sold.length,
    refundEvents: refunded.length,
    unitsSold: units(sold),
    unitsRefunded: units(refunded),
    ...(Object.fromEntries(amounts) as Record<'grossMinor' | 'refundsMinor' | 'netMinor' | 'gross' | 'refunds' | 'net', string>),
  }
}
