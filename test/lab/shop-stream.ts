/**
 * Random records of a London shop, each with the facts that it means. Copies come with other bytes than their original (another form, order of keys, offset
 * or spelling of an amount), conflicts with one field changed. Days and hours are worked out here by the British rule itself, not by core.
 */
import type { Fact, MeantRecord } from '#test/oracle.ts'
import { poisons } from './poison.ts'
import type { Random } from './random.ts'

export type MeantAppend = {
  readonly partition: number
  readonly value: Uint8Array
  readonly logTimeMs: number
  readonly meant: MeantRecord
  /** What the same record means to a shop in Auckland: times without a zone are its own. */
  readonly meantInAuckland?: MeantRecord
}

export type IntentKind = 'sale' | 'order' | 'refund' | 'late' | 'copy' | 'conflict' | 'poison' | 'pause'
export const intentKinds: readonly IntentKind[] = ['sale', 'order', 'refund', 'late', 'copy', 'conflict', 'poison', 'pause']

type Item = {
  source: string
  id: string
  kind: 'sale' | 'refund'
  orderId: string
  orderLine: number
  user: string
  product: string
  productName: string
  category: string
  brand: string | null
  city: string
  quantity: number
  unitMinor: bigint | null
  discountMinor: bigint
  taxMinor: bigint
  shippingMinor: bigint
  totalMinor: bigint
  currency: string
  utcMs: number
  refundOf: string | null
  saleDay: string | null
}

/** A record that was sent: what it held, and where. */
type Sent = { readonly partition: number; readonly items: readonly Item[] }

const hourMs = 3_600_000
const dayMs = 86_400_000
const exponents: Readonly<Record<string, number>> = { GBP: 2, JPY: 0, KWD: 3 }
const cities = ['London', 'Leeds', 'Zu\u0308rich', '東京', 'القاهرة', "O'Brien"]
// `\N` and `\.` mean something to COPY.
const categories = ['Electronics', 'Home \\N', '\\.']
const productCount = 9
const startMs = Date.UTC(2025, 1, 20, 9)
/** The largest amount an event may have. */
const amountMax = 1_000_000_000_000n

export class ShopStream {
  readonly #topic: string
  readonly #partitions: number
  readonly #scattered: boolean
  readonly #sent: Sent[] = []
  #clockMs = startMs
  #ids = 0

  /** `scattered`: copies and conflicts may stand in another partition than their original, which a producer that keys by order never does. */
  constructor(topic: string, partitions: number, scattered: boolean) {
    this.#topic = topic
    this.#partitions = partitions
    this.#scattered = scattered
  }

  /** The next record; null where the intent has nothing to refer to yet, or is a pause. */
  next(kind: IntentKind, random: Random): MeantAppend | null {
    this.#clockMs += random.below(50) * 60_000
    if (kind === 'pause') {
      this.#clockMs += (1 + random.below(12)) * dayMs
      return null
    }
    if (kind === 'poison') return this.#record(random.below(this.#partitions), random.pick(poisons).bytes, null)
    if (kind === 'copy' || kind === 'conflict') return this.#again(kind, random)
    if (kind === 'refund') return this.#refund(random)
    const partition = random.below(this.#partitions)
    const utcMs = this.#eventTime(kind === 'late', random)
    const items = kind === 'order' ? this.#order(utcMs, random) : [this.#sale(utcMs, random)]
    return this.#send(partition, items, random)
  }

  #eventTime(late: boolean, random: Random): number {
    const lag = late ? (1 + random.below(420)) * dayMs : random.below(3 * 3600) * 1000
    return Math.floor((this.#clockMs - lag) / 1000) * 1000
  }

  #newId(random: Random): string {
    const n = ++this.#ids
    if (random.chance(0.2)) return `${String(n).padStart(8, 'a')}-0000-4000-8000-${String(n).padStart(12, 'f')}`
    // `7` and `07` are two ids.
    return random.chance(0.2) ? `0${n}` : random.chance(0.3) ? `o-${n}` : String(n)
  }

  #sale(utcMs: number, random: Random): Item {
    const id = this.#newId(random)
    const plain = random.chance(0.5)
    const currency = plain || random.chance(0.6) ? 'GBP' : random.pick(['JPY', 'KWD'])
    const huge = random.chance(0.03)
    const quantity = huge ? 1 : 1 + random.below(4)
    const unitMinor = huge ? amountMax : random.chance(0.05) ? 0n : BigInt(1 + random.below(200_000))
    const gross = unitMinor * BigInt(quantity)
    const discountMinor = plain || random.chance(0.6) ? 0n : gross / 10n
    const product = 1 + random.below(productCount)
    return {
      source: plain || random.chance(0.8) ? this.#topic : 'import',
      id,
      kind: 'sale',
      orderId: id,
      orderLine: 1,
      user: String(1000 + random.below(50)),
      product: `P${product}`,
      productName: random.chance(0.9) ? `Product ${product}` : `Product ${product}, "new"`,
      // Now and then a product changes its category.
      category: categories[random.chance(0.9) ? product % categories.length : random.below(categories.length)]!,
      brand: plain || random.chance(0.5) ? null : 'Acme',
      city: random.pick(cities),
      quantity,
      unitMinor,
      discountMinor,
      taxMinor: plain ? 0n : BigInt(random.below(500)),
      shippingMinor: plain ? 0n : BigInt(random.below(500)),
      totalMinor: gross - discountMinor,
      currency,
      utcMs,
      refundOf: null,
      saleDay: null,
    }
  }

  #order(utcMs: number, random: Random): Item[] {
    const lines = 1 + random.below(4)
    const first = this.#sale(utcMs, random)
    const orderId = `order-${first.id}`
    const items = [{ ...first, orderId }]
    while (items.length < lines) {
      const { city, user, currency, source } = first
      const line = this.#sale(utcMs, random)
      items.push({ ...line, orderId, city, user, source, currency, orderLine: items.length + 1 })
    }
    return items
  }

  #refund(random: Random): MeantAppend | null {
    const sales = this.#sent.filter((sent) => sent.items[0]!.kind === 'sale')
    if (sales.length === 0) return null
    const { partition, items } = random.pick(sales)
    const sale = random.pick(items)
    const item: Item = {
      ...sale,
      id: `r-${this.#newId(random)}`,
      kind: 'refund',
      quantity: 1 + random.below(sale.quantity),
      unitMinor: null,
      discountMinor: 0n,
      taxMinor: 0n,
      shippingMinor: 0n,
      totalMinor: sale.totalMinor / BigInt(1 + random.below(3)),
      utcMs: this.#eventTime(false, random),
      refundOf: sale.id,
      saleDay: londonText(sale.utcMs).slice(0, 10),
    }
    return this.#send(partition, [item], random)
  }

  #again(kind: 'copy' | 'conflict', random: Random): MeantAppend | null {
    if (this.#sent.length === 0) return null
    // Mostly something recent, but also from long ago, below many horizons.
    const back = random.chance(0.5) ? Math.min(5, this.#sent.length) : this.#sent.length
    const { partition, items } = this.#sent[this.#sent.length - 1 - random.below(back)]!
    const to = this.#scattered ? random.below(this.#partitions) : partition
    if (kind === 'copy') {
      const some = items.length > 1 && random.chance(0.5) ? [random.pick(items)] : items
      return this.#record(to, this.#encode(some, random), some)
    }
    const item = random.pick(items)
    const changed = [
      { ...item, city: item.city === 'Leeds' ? 'London' : 'Leeds' },
      { ...item, totalMinor: item.totalMinor === 0n ? 1n : item.totalMinor - 1n, unitMinor: null },
      { ...item, taxMinor: item.taxMinor + 1n },
      { ...item, utcMs: item.utcMs - dayMs },
      { ...item, productName: `${item.productName}!` },
    ]
    const conflict = random.pick(item.kind === 'sale' ? changed.filter((other) => other.unitMinor !== null) : changed)
    return this.#record(to, this.#encode([conflict], random), [conflict])
  }

  #send(partition: number, items: readonly Item[], random: Random): MeantAppend {
    this.#sent.push({ partition, items })
    return this.#record(partition, this.#encode(items, random), items)
  }

  #record(partition: number, value: Uint8Array, items: readonly Item[] | null): MeantAppend {
    const meant = items === null ? null : items.map((item) => factOf(item, londonText))
    const meantInAuckland = items === null ? null : items.map((item) => factOf(isZoneless(value) ? { ...item, utcMs: aucklandInstant(londonText(item.utcMs)) } : item, aucklandText))
    return { partition, value, logTimeMs: this.#clockMs, meant, meantInAuckland }
  }

  #encode(items: readonly Item[], random: Random): Uint8Array {
    const [item] = items as readonly [Item]
    if (items.length > 1) return Buffer.from(orderText(items, this.#topic, random))
    if (fitsLine(item, this.#topic) && random.chance(0.6)) return Buffer.from(lineText(item, random))
    return Buffer.from(jsonText(item, null, this.#topic, random))
  }
}

function factOf(item: Item, localText: (utcMs: number) => string): Fact {
  const { source, id, kind, orderLine, product, category, quantity, totalMinor, currency } = item
  const local = localText(item.utcMs)
  const city = item.city.normalize('NFC')
  const fields = JSON.stringify({ ...item, city, unitMinor: String(item.unitMinor) }, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
  const day = local.slice(0, 10)
  const hour = Number(local.slice(11, 13))
  return { source, id, kind, orderLine, product, category, city, currency, quantity, totalMinor, day, hour, fields }
}

/** British Summer Time: from the last Sunday of March to the last Sunday of October, 01:00 UTC. */
function londonOffsetMs(utcMs: number): number {
  const year = new Date(utcMs).getUTCFullYear()
  return utcMs >= lastSunday(year, 2) + hourMs && utcMs < lastSunday(year, 9) + hourMs ? hourMs : 0
}

function lastSunday(year: number, month: number): number {
  return lastSundayOf(year, month, 31)
}

function lastSundayOf(year: number, month: number, lastDay: number): number {
  const last = Date.UTC(year, month, lastDay)
  return last - new Date(last).getUTCDay() * dayMs
}

/** `2025-03-01T10:00:00` as London's clocks show it. */
function londonText(utcMs: number): string {
  return new Date(utcMs + londonOffsetMs(utcMs)).toISOString().slice(0, 19)
}

/** New Zealand Daylight Time: from the last Sunday of September, 02:00, to the first Sunday of April, 03:00; both are 14:00 UTC of the day before. */
function aucklandOffsetMs(utcMs: number): number {
  const year = new Date(utcMs).getUTCFullYear()
  const endsMs = firstSunday(year, 3) - 10 * hourMs
  const beginsMs = lastSundayOf(year, 8, 30) - 10 * hourMs
  return utcMs >= endsMs && utcMs < beginsMs ? 12 * hourMs : 13 * hourMs
}

function firstSunday(year: number, month: number): number {
  const first = Date.UTC(year, month, 1)
  return first + ((7 - new Date(first).getUTCDay()) % 7) * dayMs
}

function aucklandText(utcMs: number): string {
  return new Date(utcMs + aucklandOffsetMs(utcMs)).toISOString().slice(0, 19)
}

/** The first of two instants where clocks show the time twice; an hour later where they never do. */
function aucklandInstant(local: string): number {
  const localMs = Date.parse(`${local}Z`)
  const first = localMs - 13 * hourMs
  return aucklandOffsetMs(first) === 13 * hourMs ? first : localMs - 12 * hourMs
}

/** A line's time never names a zone; that of a JSON record may. */
function isZoneless(value: Uint8Array): boolean {
  const text = Buffer.from(value).toString()
  const time = /"occurredAt":\s*"([^"]*)"/.exec(text)?.[1]
  return time === undefined || !/(Z|[+-]\d\d:?\d\d)$/.test(time)
}

/** Clocks do not change within two hours, so the local time alone says when. */
function isPlainHour(utcMs: number): boolean {
  return londonOffsetMs(utcMs - 2 * hourMs) === londonOffsetMs(utcMs + 2 * hourMs)
}

function fitsLine(item: Item, topic: string): boolean {
  const { source, kind, currency, brand, orderId, id, orderLine, unitMinor, discountMinor, taxMinor, shippingMinor } = item
  const bare = brand === null && discountMinor === 0n && taxMinor === 0n && shippingMinor === 0n && unitMinor !== null
  return bare && source === topic && kind === 'sale' && currency === 'GBP' && orderId === id && orderLine === 1 && isPlainHour(item.utcMs)
}

function decimal(minor: bigint, currency: string, random: Random): string {
  const exponent = exponents[currency]!
  const digits = minor.toString().padStart(exponent + 1, '0')
  if (exponent === 0) return random.chance(0.8) ? digits : `${digits}.0`
  const text = `${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`
  return random.chance(0.7) ? text : random.chance(0.5) ? `${text}00` : text.replace(/\.?0+$/, '')
}

function lineText(item: Item, random: Random): string {
  const { id, user, product, productName, category, quantity, unitMinor, totalMinor, city } = item
  const quoted = (text: string): string => (/[",]/.test(text) || random.chance(0.7) ? `"${text.replaceAll('"', '""')}"` : text)
  const local = londonText(item.utcMs)
  const time = random.chance(0.8) ? local.replace('T', ' ') : local
  const fields = [id, user, product, quoted(productName), quoted(category), String(quantity), decimal(unitMinor!, 'GBP', random), decimal(totalMinor, 'GBP', random), time, quoted(city)]
  return fields.join(',') + random.pick(['', '', '\n', '\r\n'])
}

/** `order` holds the fields that the line leaves to its order. */
function jsonText(item: Item, order: ReadonlySet<string> | null, topic: string, random: Random): string {
  const { id, kind, user, product, productName, category, brand, city, quantity, unitMinor, currency } = item
  const money = (minor: bigint): string => {
    const text = decimal(minor, currency, random)
    return random.chance(0.3) ? text : JSON.stringify(text)
  }
  const upper = id.length === 36 && random.chance(0.5)
  const fields: [string, string | null][] = [
    ['eventId', JSON.stringify(upper ? id.toUpperCase() : id)],
    ['kind', kind === 'sale' && random.chance(0.5) ? null : JSON.stringify(kind)],
    ['orderId', item.orderId === id && random.chance(0.5) ? null : JSON.stringify(item.orderId)],
    ['orderLine', order !== null || (item.orderLine === 1 && random.chance(0.5)) ? null : String(item.orderLine)],
    ['userId', random.chance(0.5) ? user : JSON.stringify(user)],
    ['productId', JSON.stringify(product)],
    ['productName', JSON.stringify(productName)],
    ['category', JSON.stringify(category)],
    ['brand', brand === null ? random.pick([null, 'null']) : JSON.stringify(brand)],
    ['city', JSON.stringify(random.chance(0.5) ? city : city.normalize('NFC'))],
    ['quantity', random.chance(0.7) ? String(quantity) : `"${quantity}"`],
    ['unitPrice', unitMinor === null ? null : money(unitMinor)],
    ['discount', item.discountMinor === 0n && random.chance(0.5) ? null : money(item.discountMinor)],
    ['tax', item.taxMinor === 0n && random.chance(0.5) ? null : money(item.taxMinor)],
    ['shipping', item.shippingMinor === 0n && random.chance(0.5) ? null : money(item.shippingMinor)],
    ['total', money(item.totalMinor)],
    ['currency', currency === 'GBP' && random.chance(0.3) ? null : JSON.stringify(currency)],
    ['occurredAt', JSON.stringify(instantText(item.utcMs, random))],
    ['source', item.source === topic ? null : JSON.stringify(item.source)],
    ['refundOf', item.refundOf === null ? null : JSON.stringify(item.refundOf)],
    ['saleDay', item.saleDay === null ? null : JSON.stringify(item.saleDay)],
    ['campaign', random.chance(0.1) ? '{"name":"spring","weights":[1,2.5e3]}' : null],
  ]
  const written = fields.filter(([name, source]) => source !== null && order?.has(name) !== true)
  if (random.chance(0.5)) written.reverse()
  const gap = random.chance(0.2) ? ' ' : ''
  return `{${gap}${written.map(([name, source]) => `${JSON.stringify(name)}:${gap}${source}`).join(`,${gap}`)}}`
}

function orderText(items: readonly Item[], topic: string, random: Random): string {
  const [first] = items as readonly [Item]
  const shared = new Set(['orderId', 'userId', 'city', 'currency', 'occurredAt', 'source'])
  const lines = items.map((item) => jsonText(item, shared, topic, random))
  const source = first.source === topic ? '' : `"source":${JSON.stringify(first.source)},`
  const head = `"orderId":${JSON.stringify(first.orderId)},"userId":${JSON.stringify(first.user)},"city":${JSON.stringify(first.city)}`
  return `{${source}${head},"currency":"${first.currency}","occurredAt":"${instantText(first.utcMs, random)}","lines":[${lines.join(',')}]}`
}

function instantText(utcMs: number, random: Random): string {
  const form = random.below(4)
  if (form === 0 && isPlainHour(utcMs)) return londonText(utcMs)
  if (form === 1) return `${new Date(utcMs + 5.5 * hourMs).toISOString().slice(0, 19)}+05:30`
  if (form === 2) return `${new Date(utcMs - 8 * hourMs).toISOString().slice(0, 19)}.000-0800`
  return new Date(utcMs).toISOString()
}
