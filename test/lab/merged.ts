/** What a reader sees: the merged views, the committed offsets and the pointer, all in one snapshot; and how that is held against the oracle. */
import type { QueryResult } from 'pg'
import { expect } from 'vitest'
import type { Lab } from '#test/lab.ts'
import type { Account, Expected, Order, Sums, ViewName } from '#test/oracle.ts'
import { topFive, viewNames } from '#test/oracle.ts'

export type Merged = {
  readonly views: ReadonlyMap<ViewName, ReadonlyMap<string, Sums>>
  /** N: partition → next offset. */
  readonly n: ReadonlyMap<number, number>
  readonly accounts: ReadonlyMap<number, Account>
  readonly letters: readonly { readonly partition: number; readonly offset: number; readonly index: number; readonly reason: string }[]
  readonly top: readonly { readonly product: string; readonly currency: string; readonly units: bigint; readonly net: bigint }[]
  readonly batch: number
  readonly epoch: number
}

const grains: Readonly<Record<ViewName, readonly [string, string, string, string]>> = {
  revenue: ['local_day', 'city', 'category', 'currency'],
  product_sales: ['local_day', 'product_id', 'category', 'currency'],
  product_city_sales: ['local_month', 'product_id', 'city', 'currency'],
  pace: ['local_day', 'local_hour', 'category', 'currency'],
}

const topSql = /* sql */ `
  SELECT product_id, currency, units, net FROM (
    SELECT product_id, currency, sum(units_sold)::bigint AS units, sum(net_minor)::bigint AS net,
      row_number() OVER (PARTITION BY currency ORDER BY sum(units_sold) DESC, sum(net_minor) DESC, product_id) AS place
    FROM merged_product_sales GROUP BY product_id, currency HAVING sum(transactions) + sum(refund_events) > 0
  ) ranked WHERE place <= 5 ORDER BY currency, place`

/** Topics of references count in no figure. */
const statementsOf = (topic: string): string => [
  'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
  `SELECT partition, next_offset, records, accepted, copies, conflicts, refused FROM committed_offsets WHERE topic = '${topic}' ORDER BY partition`,
  `SELECT partition, log_offset, record_index, reason FROM dead_letters WHERE topic = '${topic}' ORDER BY partition, log_offset, record_index`,
  'SELECT batch, epoch FROM publish_pointer',
  topSql,
  ...viewNames.map((view) => `SELECT ${grains[view].join(', ')}, transactions, orders, refund_events, units_sold, units_refunded, gross_minor, refunds_minor, net_minor FROM merged_${view}`),
  'COMMIT',
].join(';\n')

type Cell = string | number | bigint
type Row = Readonly<Record<string, Cell>>

/** One round trip and one snapshot. */
export async function readMerged(lab: Lab): Promise<Merged> {
  const results = (await lab.database.pool.query(statementsOf(lab.topic))) as unknown as readonly QueryResult<Row>[]
  const [offsets, letters, pointer, top, ...views] = results.slice(1, -1).map((result) => result.rows)
  const whole = (value: Cell | undefined): number => Number(value)
  return {
    n: new Map(offsets!.map((row) => [whole(row['partition']), whole(row['next_offset'])])),
    accounts: new Map(
      offsets!.map((row) => [
        whole(row['partition']),
        { records: whole(row['records']), accepted: whole(row['accepted']), copies: whole(row['copies']), conflicts: whole(row['conflicts']), refused: whole(row['refused']) },
      ]),
    ),
    letters: letters!.map((row) => ({ partition: whole(row['partition']), offset: whole(row['log_offset']), index: whole(row['record_index']), reason: String(row['reason']) })),
    batch: whole(pointer![0]!['batch']),
    epoch: whole(pointer![0]!['epoch']),
    top: top!.map((row) => ({ product: String(row['product_id']), currency: String(row['currency']), units: row['units'] as bigint, net: row['net'] as bigint })),
    views: new Map(viewNames.map((view, i) => [view, sumsOf(view, views[i]!)])),
  }
}

function sumsOf(view: ViewName, rows: readonly Row[]): Map<string, Sums> {
  const cells = new Map<string, Sums>()
  for (const row of rows) {
    const money = (name: string): bigint => {
      const value = row[name]
      if (typeof value !== 'bigint') throw new Error(`${name} of merged_${view} came as ${typeof value}: amounts are BIGINT from end to end`)
      return value
    }
    const sums = {
      transactions: money('transactions'),
      orders: money('orders'),
      refundEvents: money('refund_events'),
      unitsSold: money('units_sold'),
      unitsRefunded: money('units_refunded'),
      gross: money('gross_minor'),
      refunds: money('refunds_minor'),
    }
    if (money('net_minor') !== sums.gross - sums.refunds) throw new Error(`net of merged_${view} is not gross − refunds`)
    const key = JSON.stringify(grains[view].map((name) => row[name]))
    if (cells.has(key)) throw new Error(`merged_${view} has two rows for ${key}`)
    // A cell that only a correction still knows stands at zero.
    if (Object.values(sums).some((sum) => sum !== 0n)) cells.set(key, sums)
  }
  return cells
}

/** I1, I6 and I8 at one moment: every figure that a reader sees is what the oracle says of the offsets below N. */
export function expectFigures(merged: Merged, expected: Expected): void {
  for (const view of viewNames) expect({ view, rows: sorted(merged.views.get(view)!) }).toEqual({ view, rows: sorted(expected.views.get(view)!) })
  expect(merged.top).toEqual(topFive(expected.views.get('product_sales')!))
}

/** The figures, and I3: every event is accepted, a copy, a conflict or refused, and every conflict has its dead letter. */
export function expectExact(merged: Merged, expected: Expected): void {
  expectFigures(merged, expected)
  expect([...merged.accounts]).toEqual([...expected.accounts])
  const conflicts = merged.letters.filter((letter) => letter.reason === 'conflict').map(({ partition, offset, index }) => `${partition}:${offset}:${index}`)
  expect(conflicts.sort()).toEqual(expected.conflicts.map(({ partition, offset, index }) => `${partition}:${offset}:${index}`).sort())
  const refused = new Map([...expected.accounts.keys()].map((partition) => [partition, 0]))
  for (const letter of merged.letters) if (letter.reason !== 'conflict') refused.set(letter.partition, refused.get(letter.partition)! + 1)
  expect([...refused]).toEqual([...expected.accounts].map(([partition, account]) => [partition, account.refused]))
}

function sorted(cells: ReadonlyMap<string, Sums>): [string, Sums][] {
  return [...cells].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Reads and compares. Resolves to what was read. */
export async function checkExact(lab: Lab, order?: Order): Promise<Merged> {
  const merged = await readMerged(lab)
  expectExact(merged, order === undefined ? lab.oracle.expect(merged.n) : lab.oracle.expect(merged.n, order))
  return merged
}
