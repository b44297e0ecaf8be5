/**
 * Compares every document of the figures with PostgreSQL, measure by measure. What differs is looked at again until it agrees or the figures stand still
 * while it does not; a cell that changes at every look is told apart, since nothing can be said of it.
 */
import type { FoundDocument, SearchIndex } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { Database } from '#store/database.ts'
import type { CellKey, SearchCell } from '#store/search-cells.ts'
import { readCells, readMonthCells, readMonthTotals } from '#store/search-cells.ts'
import { listIndices } from '#store/search-indices.ts'
import { aliasOf } from '#store/search-indices.ts'
import { delay } from './delay.ts'
import { cellId, documentMeasures, keyIn, periodField } from './search-documents.ts'
import { nextMonth, withNet } from './search-figures.ts'
import { monthIndexName } from './search-sales.ts'

export type VerifyOptions = {
  readonly database: Database
  readonly search: SearchIndex
  readonly prefix: string
  readonly signal: AbortSignal
  /** Local months of the sales from this on are kept, `YYYY-MM-01`. */
  readonly salesFrom: string
  /** How long the follower is given to bring a document up to the figures; default 15,000. */
  readonly patienceMs?: number
  readonly onMonth?: (view: string, month: string) => void
}

export type Difference = { readonly index: string; readonly id: string; readonly document: readonly string[] | null; readonly figures: readonly string[] }
export type VerifyResult = {
  readonly documents: number
  readonly differences: number
  /** Some of them. */
  readonly listed: readonly Difference[]
  /** Cells that changed at every look. */
  readonly unsettled: number
  readonly sales: { readonly documents: number; readonly differingMonths: readonly string[] }
  /** Views without an index that serves. */
  readonly missing: readonly string[]
}

const pageCells = 5_000
const listedMax = 20
const patienceMsDefault = 15_000
const lookAgainMs = 750

type Pair = { readonly key: CellKey; readonly document: readonly bigint[] | null; readonly figures: readonly bigint[] }

export async function verifySearch(options: VerifyOptions): Promise<VerifyResult> {
  const { database, signal } = options
  const rows = await listIndices(database.pool)
  const missing: string[] = []
  const listed: Difference[] = []
  let documents = 0
  let differences = 0
  let unsettled = 0
  for (const view of views) {
    const index = rows.find((row) => row.kind === view.name && row.state === 'serving')?.name
    if (index === undefined) {
      missing.push(view.name)
      continue
    }
    for (const month of await monthsOf(options, view, index)) {
      signal.throwIfAborted()
      options.onMonth?.(view.name, month)
      const compared = await compareMonth(options, view, index, month)
      documents += compared.documents
      const outcome = await lookAgain(options, view, index, month, compared.differing)
      unsettled += outcome.unsettled
      differences += outcome.differing.length
      for (const pair of outcome.differing.slice(0, Math.max(0, listedMax - listed.length))) {
        listed.push({ index, id: cellId(pair.key), document: pair.document?.map(String) ?? null, figures: pair.figures.map(String) })
      }
    }
  }
  const sales = await verifySales(options)
  if (sales === null) missing.push('sales')
  return { documents, differences, listed, unsettled, sales: sales ?? { documents: 0, differingMonths: [] }, missing }
}

async function monthsOf({ database, search }: VerifyOptions, view: View, index: string): Promise<string[]> {
  await search.refresh(index)
  const found = (await search.sumByMonth(index, periodField(view), [])).map((one) => one.month)
  const figures = (await readMonthTotals(database.pool, view)).map((one) => one.month)
  return [...new Set([...found, ...figures])].sort().map((month) => `${month}-01`)
}

async function compareMonth({ database, search }: VerifyOptions, view: View, index: string, month: string): Promise<{ documents: number; differing: CellKey[] }> {
  const found = new Map<string, { readonly key: CellKey; readonly totals: readonly bigint[] }>()
  for await (const page of search.scan(index, periodField(view), month, nextMonth(month))) {
    for (const document of page) found.set(document.id, { key: keyIn(view, document.source), totals: totalsIn(document) })
  }
  const documents = found.size
  const differing: CellKey[] = []
  let after: CellKey | null = null
  for (;;) {
    const page: { readonly cells: readonly SearchCell[]; readonly isLast: boolean } = await readMonthCells(database.pool, view, month, after, pageCells)
    for (const cell of page.cells) {
      const id = cellId(cell.key)
      if (!isSame(found.get(id)?.totals ?? null, withNet(cell.totals))) differing.push(cell.key)
      found.delete(id)
    }
    if (page.isLast) break
    after = page.cells.at(-1)!.key
  }
  // Documents of cells that are gone stand at zero.
  for (const { key, totals } of found.values()) if (totals.some((total) => total !== 0n)) differing.push(key)
  return { documents, differing }
}

function totalsIn(document: FoundDocument): bigint[] {
  return documentMeasures.map((name) => BigInt(document.source[name] as number | bigint))
}

/** No document is as good as one of zeros. */
function isSame(document: readonly bigint[] | null, figures: readonly bigint[]): boolean {
  return figures.every((figure, i) => (document?.[i] ?? 0n) === figure)
}

async function lookAgain(options: VerifyOptions, view: View, index: string, month: string, keys: readonly CellKey[]): Promise<{ differing: Pair[]; unsettled: number }> {
  const { signal } = options
  const deadline = performance.now() + (options.patienceMs ?? patienceMsDefault)
  let pairs = await readPairs(options, view, index, month, keys)
  for (;;) {
    if (pairs.length === 0) return { differing: [], unsettled: 0 }
    await delay(lookAgainMs, signal)
    signal.throwIfAborted()
    const before = new Map(pairs.map((pair) => [cellId(pair.key), pair.figures]))
    pairs = await readPairs(options, view, index, month, pairs.map((pair) => pair.key))
    if (performance.now() < deadline) continue
    const stands = pairs.filter((pair) => isSame(before.get(cellId(pair.key))!, pair.figures))
    return { differing: stands, unsettled: pairs.length - stands.length }
  }
}

/** Those that differ now. */
async function readPairs({ database, search }: VerifyOptions, view: View, index: string, month: string, keys: readonly CellKey[]): Promise<Pair[]> {
  const pairs: Pair[] = []
  for (let from = 0; from < keys.length; from += pageCells) {
    const some = keys.slice(from, from + pageCells)
    for (const cell of await readCells(database.pool, view, month, some)) {
      const document = await search.get(index, cellId(cell.key))
      const pair = { key: cell.key, document: document === null ? null : totalsIn(document), figures: withNet(cell.totals) }
      if (!isSame(pair.document, pair.figures)) pairs.push(pair)
    }
  }
  return pairs
}

/** The documents of the sales add up to the revenue of their months, once every copy that two workers counted was taken out by a batch. */
async function verifySales({ database, search, salesFrom, prefix }: VerifyOptions): Promise<VerifyResult['sales'] | null> {
  const family = (await listIndices(database.pool)).find((row) => row.kind === 'sales' && row.state === 'serving')
  if (family === undefined) return null
  const pointed = new Set(await search.pointed(aliasOf(prefix, 'sales')))
  const revenue = views.find((view) => view.name === 'revenue')!
  const figures = (await readMonthTotals(database.pool, revenue)).filter((one) => `${one.month}-01` >= salesFrom)
  const differingMonths: string[] = []
  let documents = 0
  for (const { month, totals } of figures) {
    const index = monthIndexName(family.name, month)
    if (!pointed.has(index)) {
      if (totals.some((total) => total !== 0n)) differingMonths.push(month)
      continue
    }
    await search.refresh(index)
    const sums = await search.sumByMonth(index, 'localDay', documentMeasures)
    documents += sums.reduce((sum, one) => sum + one.documents, 0)
    const isEqual = withNet(totals).every((total, i) => sums.reduce((sum, one) => sum + (one.sums[documentMeasures[i]!] ?? 0), 0) === Number(total))
    if (!isEqual) differingMonths.push(month)
  }
  return { documents, differingMonths }
}
