/**
 * The cross-check: for every key of every view, batch_new − batch_base = Σ deltas of the epochs in between, to the unit; and for every (epoch,
 * partition) the number and the hash sums of the counted ids. What a stated rule explains becomes corrections; then the equation must hold, or the
 * batch is held.
 */
import { formatDay } from '#core/calendar.ts'
import type { ShopEvent } from '#core/events.ts'
import type { EventLog, QueryEngine } from '#core/ports.ts'
import { measure } from '#core/views/measures.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { Batch } from '#store/batches.ts'
import type { CorrectedEvent, CorrectionPlan } from '#store/corrections.ts'
import type { Base, KeyDifference } from '#store/cross-check.ts'
import { differencesOf, findDifferences } from '#store/cross-check.ts'
import type { Database } from '#store/database.ts'
import type { Explanation, Unexplained } from './explain.ts'
import { explainCounts } from './explain.ts'
import type { Recomputed } from './recompute.ts'
import type { Redecoded } from './redecode.ts'

export type CrossCheckSummary = {
  /** `exact`: nothing differed. `corrected`: stated rules explain every difference. `held`: something is left. */
  readonly result: 'exact' | 'corrected' | 'held' | 'accepted'
  readonly text: string
  readonly checkedAt: string
  readonly keysDiffering: number
  readonly corrections: number
  readonly correctionsByReason: Readonly<Record<string, number>>
  readonly unexplainedKeys: readonly KeyDifference[]
  readonly unexplainedEvents: readonly Unexplained[]
  readonly differingCounts: Explanation['differingCounts']
  readonly unexplainedCounts: Explanation['unexplainedCounts']
  /** Of a batch that took another logic version into use: what that changed. */
  readonly logic?: LogicSummary
}

export type LogicSummary = Redecoded & { readonly from: string; readonly to: string; readonly lettersAdded: number; readonly lettersRemoved: number }

export type CrossCheck = { readonly summary: CrossCheckSummary; readonly corrections: CorrectionPlan }

export type CrossCheckOptions = {
  readonly database: Database
  readonly engine: QueryEngine
  readonly log: EventLog
  readonly topic: string
  readonly signal: AbortSignal
}

const listedMax = 100

export async function crossCheck(options: CrossCheckOptions, batch: Batch, base: Base, recomputed: Recomputed): Promise<CrossCheck> {
  const explanation = await explainCounts(options, batch, base, recomputed.counts)
  const lostEvents = explanation.lost.reduce((sum, { positions }) => sum + positions.length, 0)
  let keysDiffering = 0
  const unexplainedKeys: KeyDifference[] = []
  for (const view of views) {
    const cells = correctionCells(view, explanation.corrections)
    const { total, listed } = await findDifferences(options.database.pool, view, batch, base, recomputed.stages.get(view.name)!, cells.size + lostEvents)
    keysDiffering += total
    if (lostEvents > 0) {
      if (total > listed.length || !isLossOf(lostEvents, leftByKey(view, listed, cells))) unexplainedKeys.push(...listed)
      continue
    }
    unexplainedKeys.push(...listed.filter((difference) => !isExplained(difference, cells.get(keyOf(view, difference)))))
    if (total <= listed.length) unexplainedKeys.push(...missingDifferences(view, listed, cells))
  }
  const { corrections, unexplained, unexplainedCounts } = explanation
  const held = unexplainedKeys.length > 0 || unexplained.length > 0 || unexplainedCounts.length > 0
  const corrected = corrections.length + lostEvents
  const result = held ? 'held' : corrected > 0 ? 'corrected' : 'exact'
  const summary: CrossCheckSummary = {
    result,
    text: describe(result, corrected, lostEvents, unexplainedKeys.length, unexplained.length, unexplainedCounts.length),
    checkedAt: new Date().toISOString(),
    keysDiffering,
    corrections: corrected,
    correctionsByReason: { ...countByReason(corrections), ...(lostEvents > 0 && { lost: lostEvents }) },
    unexplainedKeys: unexplainedKeys.slice(0, listedMax),
    unexplainedEvents: unexplained.slice(0, listedMax),
    differingCounts: explanation.differingCounts.slice(0, listedMax),
    unexplainedCounts: unexplainedCounts.slice(0, listedMax),
  }
  const differences = new Map(views.map((view) => [view.name as string, differencesOf(view, batch, base, recomputed.stages.get(view.name)!)]))
  const remaining = lostEvents > 0 ? ({ reason: 'lost', differences } as const) : null
  return { summary, corrections: { events: corrections, settled: explanation.settled, lost: explanation.lost, remaining } }
}

function describe(result: string, corrections: number, lost: number, keys: number, events: number, counts: number): string {
  if (result === 'exact') return 'Every key of every view agrees to the unit.'
  if (lost > 0 && result === 'corrected') return `Every difference is explained; ${corrections} corrections are booked, ${lost} of them events of lost ranges, whose amounts nothing can check any more.`
  if (result === 'corrected') return `Every difference is explained; ${corrections} corrections are booked.`
  return `${keys} keys, ${events} events and ${counts} counts of ids differ and no stated rule explains them.`
}

function countByReason(corrections: readonly CorrectedEvent[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { reason } of corrections) counts[reason] = (counts[reason] ?? 0) + 1
  return counts
}

function gridKey(view: View, event: ShopEvent): string {
  return JSON.stringify(view.grain.map((dimension) => (dimension.kind === 'day' ? formatDay(dimension.of(event)) : dimension.of(event))))
}

const measureNames = {
  transactions: 'transactions',
  orders: 'orders',
  refund_events: 'refundEvents',
  units_sold: 'unitsSold',
  units_refunded: 'unitsRefunded',
  gross_minor: 'grossMinor',
  refunds_minor: 'refundsMinor',
} as const

type CellSums = Readonly<Record<string, bigint>>

/** What the corrections add to each cell of a view, by measure. */
function correctionCells(view: View, corrections: readonly CorrectedEvent[]): Map<string, CellSums> {
  const cells = new Map<string, Record<string, bigint>>()
  for (const { event, sign } of corrections) {
    const key = gridKey(view, event as ShopEvent)
    const sums = cells.get(key) ?? {}
    cells.set(key, sums)
    const added = measure(event as ShopEvent)
    for (const [column, name] of Object.entries(measureNames)) sums[column] = (sums[column] ?? 0n) + BigInt(sign) * BigInt(added[name])
  }
  return cells
}

function keyOf(view: View, difference: KeyDifference): string {
  return JSON.stringify(view.grain.map((dimension) => difference.key[dimension.name]))
}

/** The corrections of this cell make up the whole difference, in every measure. */
function isExplained(difference: KeyDifference, sums: CellSums = {}): boolean {
  return Object.keys(measureNames).every((column) => BigInt(difference.batch[column] ?? 0) - BigInt(difference.speed[column] ?? 0) === (sums[column] ?? 0n))
}

/** What the corrections leave of each cell's difference, of those that differ and of those that a correction moves. */
function leftByKey(view: View, listed: readonly KeyDifference[], cells: ReadonlyMap<string, CellSums>): CellSums[] {
  const differences = new Map(listed.map((difference) => [keyOf(view, difference), difference]))
  return [...new Set([...differences.keys(), ...cells.keys()])].map((key) => {
    const difference = differences.get(key)
    const sums = cells.get(key) ?? {}
    return Object.fromEntries(
      Object.keys(measureNames).map((column) => [column, BigInt(difference?.batch[column] ?? 0) - BigInt(difference?.speed[column] ?? 0) - (sums[column] ?? 0n)]),
    )
  })
}

/**
 * What is left is the loss of so many events: nothing grew, each measure fell only where an event that has it fell, and the events are that many. How much
 * each of them came to cannot be checked: nothing has their fields any more.
 */
function isLossOf(events: number, left: readonly CellSums[]): boolean {
  let missing = 0n
  for (const cell of left) {
    const lost = (column: keyof typeof measureNames): bigint => -(cell[column] ?? 0n)
    const sales = lost('transactions')
    const refunds = lost('refund_events')
    const isSound =
      sales >= 0n &&
      refunds >= 0n &&
      lost('orders') >= 0n &&
      lost('orders') <= sales &&
      (sales > 0n ? lost('units_sold') >= sales && lost('gross_minor') >= 0n : lost('units_sold') === 0n && lost('gross_minor') === 0n) &&
      (refunds > 0n ? lost('units_refunded') >= refunds && lost('refunds_minor') >= 0n : lost('units_refunded') === 0n && lost('refunds_minor') === 0n)
    if (!isSound) return false
    missing += sales + refunds
  }
  return missing === BigInt(events)
}

/** Cells that corrections would move although they agree. */
function missingDifferences(view: View, listed: readonly KeyDifference[], cells: ReadonlyMap<string, CellSums>): KeyDifference[] {
  const known = new Set(listed.map((difference) => keyOf(view, difference)))
  const missing: KeyDifference[] = []
  for (const [key, sums] of cells) {
    if (known.has(key) || Object.values(sums).every((sum) => sum === 0n)) continue
    const values = JSON.parse(key) as (string | number)[]
    missing.push({
      view: view.name,
      key: Object.fromEntries(view.grain.map((dimension, i) => [dimension.name, values[i]!])),
      batch: {},
      speed: Object.fromEntries(Object.entries(sums).map(([column, sum]) => [column, String(sum)])),
    })
  }
  return missing
}
