/**
 * The oracle of the laws: what the merged figures must say, worked out from what the test meant to send. A plain sum over distinct ids with an offset
 * below N, in Maps and BigInt. It knows no epoch, no flush, no batch and no horizon, and shares no code with core or store.
 */

/** One business fact as the test meant it. Two facts of one id are copies where `fields` agree. */
export type Fact = {
  readonly source: string
  readonly id: string
  readonly kind: 'sale' | 'refund'
  readonly orderLine: number
  readonly product: string
  readonly category: string
  readonly city: string
  readonly currency: string
  readonly quantity: number
  readonly totalMinor: bigint
  /** `2025-03-01`, in the shop's zone. */
  readonly day: string
  readonly hour: number
  /** Everything that the fact says, as text. */
  readonly fields: string
}

/** The facts of one record of the log, or null where it must be refused. */
export type MeantRecord = readonly Fact[] | null

export type Sums = {
  transactions: bigint
  orders: bigint
  refundEvents: bigint
  unitsSold: bigint
  unitsRefunded: bigint
  gross: bigint
  refunds: bigint
}

export type Account = { records: number; accepted: number; copies: number; conflicts: number; refused: number }

export type Place = { readonly partition: number; readonly offset: number; readonly index: number }

export type Expected = {
  /** View → key (its four values as a JSON array) → sums. */
  readonly views: ReadonlyMap<ViewName, ReadonlyMap<string, Sums>>
  readonly accounts: ReadonlyMap<number, Account>
  /** Every copy with other fields than the one that counts. */
  readonly conflicts: readonly Place[]
}

export const viewNames = ['revenue', 'product_sales', 'product_city_sales', 'pace'] as const
export type ViewName = (typeof viewNames)[number]

const keys: Readonly<Record<ViewName, (fact: Fact) => readonly (string | number)[]>> = {
  revenue: (fact) => [fact.day, fact.city, fact.category, fact.currency],
  product_sales: (fact) => [fact.day, fact.product, fact.category, fact.currency],
  product_city_sales: (fact) => [`${fact.day.slice(0, 7)}-01`, fact.product, fact.city, fact.currency],
  pace: (fact) => [fact.day, fact.hour, fact.category, fact.currency],
}

/** Which of two copies stands first. */
export type Order = (a: Place, b: Place) => number

/** Right wherever the copies of an id share a partition, or say the same. */
export const byPartitionAndOffset: Order = (a, b) => a.partition - b.partition || a.offset - b.offset || a.index - b.index

export class Oracle {
  readonly #records = new Map<number, MeantRecord[]>()

  /** The next record of the partition; offsets count from 0. */
  add(partition: number, record: MeantRecord): void {
    const records = this.#records.get(partition)
    if (records === undefined) this.#records.set(partition, [record])
    else records.push(record)
  }

  /** Next offset of each partition that has a record. */
  ends(): Map<number, number> {
    return new Map([...this.#records].map(([partition, records]) => [partition, records.length]))
  }

  /** The answer for the facts below `n` (exclusive); a partition that is missing there has none. */
  expect(n: ReadonlyMap<number, number>, order: Order = byPartitionAndOffset): Expected {
    const accounts = new Map<number, Account>()
    const meant: { readonly fact: Fact; readonly place: Place }[] = []
    for (const [partition, end] of n) {
      const account: Account = { records: 0, accepted: 0, copies: 0, conflicts: 0, refused: 0 }
      accounts.set(partition, account)
      for (const [offset, record] of (this.#records.get(partition) ?? []).slice(0, end).entries()) {
        account.records++
        if (record === null) account.refused++
        else for (const [index, fact] of record.entries()) meant.push({ fact, place: { partition, offset, index } })
      }
    }
    meant.sort((a, b) => order(a.place, b.place))
    const first = new Map<string, Fact>()
    const conflicts: Place[] = []
    for (const { fact, place } of meant) {
      const id = JSON.stringify([fact.source, fact.id])
      const counted = first.get(id)
      const account = accounts.get(place.partition)!
      if (counted === undefined) {
        first.set(id, fact)
        account.accepted++
      } else if (counted.fields === fact.fields) account.copies++
      else {
        account.conflicts++
        conflicts.push(place)
      }
    }
    return { views: new Map(viewNames.map((view) => [view, sumBy(keys[view], first.values())])), accounts, conflicts }
  }
}

function sumBy(keyOf: (fact: Fact) => readonly (string | number)[], facts: Iterable<Fact>): Map<string, Sums> {
  const cells = new Map<string, Sums>()
  for (const fact of facts) {
    const key = JSON.stringify(keyOf(fact))
    let sums = cells.get(key)
    if (sums === undefined) {
      sums = { transactions: 0n, orders: 0n, refundEvents: 0n, unitsSold: 0n, unitsRefunded: 0n, gross: 0n, refunds: 0n }
      cells.set(key, sums)
    }
    if (fact.kind === 'sale') {
      sums.transactions += 1n
      if (fact.orderLine === 1) sums.orders += 1n
      sums.unitsSold += BigInt(fact.quantity)
      sums.gross += fact.totalMinor
    } else {
      sums.refundEvents += 1n
      sums.unitsRefunded += BigInt(fact.quantity)
      sums.refunds += fact.totalMinor
    }
  }
  return cells
}

export type Ranked = { readonly product: string; readonly currency: string; readonly units: bigint; readonly net: bigint }

/** The five best products of each currency: by units sold, then net revenue, then product id bytewise. */
export function topFive(productSales: ReadonlyMap<string, Sums>): Ranked[] {
  const products = new Map<string, { product: string; currency: string; units: bigint; net: bigint }>()
  for (const [key, sums] of productSales) {
    const [, product, , currency] = JSON.parse(key) as [string, string, string, string]
    const id = JSON.stringify([product, currency])
    const ranked = products.get(id) ?? { product, currency, units: 0n, net: 0n }
    ranked.units += sums.unitsSold
    ranked.net += sums.gross - sums.refunds
    products.set(id, ranked)
  }
  const all = [...products.values()].sort(
    (a, b) => compare(a.currency, b.currency) || compare(b.units, a.units) || compare(b.net, a.net) || Buffer.compare(Buffer.from(a.product), Buffer.from(b.product)),
  )
  const taken = new Map<string, number>()
  return all.filter(({ currency }) => {
    const place = taken.get(currency) ?? 0
    taken.set(currency, place + 1)
    return place < 5
  })
}

function compare<T extends bigint | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0
}
