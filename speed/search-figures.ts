/**
 * The follower of the figures. Each step: what changed since the position is read in pages, each under the next read number, which is committed durably
 * before anything is sent; whole documents with absolute totals go to every index that builds or serves; only when all are acknowledged the position
 * moves. A crash anywhere is a repeat. Between steps one page of a month that is due is sent: so indices are built, and mended, while changes go on.
 */
import { ConflictError } from '#core/errors.ts'
import type { SearchDocument, SearchIndex } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { Database } from '#store/database.ts'
import { inTransaction, run } from '#store/database.ts'
import { renewIncarnation } from '#store/incarnation.ts'
import type { CellKey, SearchCell } from '#store/search-cells.ts'
import { readCells, readChangedCells, readMonthCells, readMonthTotals } from '#store/search-cells.ts'
import type { FollowerPosition, Since, StoreMoment } from '#store/search-follower.ts'
import { emptySnapshot, findChangedPeriods, moveFollower, readMoment, readNumbered } from '#store/search-follower.ts'
import type { MonthDue, SearchIndexRow } from '#store/search-indices.ts'
import {
  aliasOf,
  beginIndices,
  countRejects,
  dropRejects,
  finishMonth,
  forgetIndex,
  keepRejects,
  listBuilt,
  listIndices,
  markMade,
  markServing,
  nextMonthDue,
  replaceIndex,
  resendMonths,
} from '#store/search-indices.ts'
import { cellDocument, documentMeasures, keyIn, numberField, periodField, templatesOf } from './search-documents.ts'
import type { SpeedLogger } from './worker.ts'

export type FiguresOptions = {
  readonly database: Database
  readonly search: SearchIndex
  /** Of all names in the search engine. */
  readonly prefix: string
  readonly logger: SpeedLogger
  /** Documents of one reading; default 10,000. */
  readonly cellsMax?: number
  /** The index holds what the database never gave out: the database was put back. Default: it takes a new incarnation. */
  readonly onAhead?: (incarnation: string) => Promise<void>
  /** Where tests may stop a step: after a reading's number was committed, and before the position moves. */
  readonly faults?: { readonly beforeSend?: (documents: number) => Promise<void>; readonly beforeMove?: () => Promise<void> }
}

const cellsMaxDefault = 10_000
/** With nothing to send, the position is written down so often, for the lag that status tells. */
const idleMoveMs = 5_000
/** Removed indices, and removed aliases, are missed within this. */
const lookIntervalMs = 30_000
const checkIntervalMs = 3_600_000
/** A month that changes all the time cannot be compared: it is left to the next check after so many tries. */
const checkTriesMax = 20

type Outbox = { readonly number: number; readonly asOfMs: number | null; readonly cells: readonly (readonly [View, readonly SearchCell[]])[]; readonly indices: readonly SearchIndexRow[] }
type Cursor = { readonly view: number; readonly after: CellKey | null }
type MonthCursor = { readonly index: string; readonly month: string; readonly after: CellKey | null; readonly firstNumber: number | null }

/** What one follower remembers; dropping it is a crash. */
export class FiguresFollower {
  readonly #options: FiguresOptions
  #sentUpTo = emptySnapshot
  #movedAt = 0
  #lookedAt = 0
  #checkedAt = -checkIntervalMs
  #rejects = 0
  #month: MonthCursor | null = null
  /** View → months to compare with the figures; null means all. */
  readonly #checks = new Map<View, { months: ReadonlySet<string> | null; tries: number }>()

  constructor(options: FiguresOptions) {
    this.#options = options
  }

  /** One turn. Resolves to whether there may be more to do at once. */
  async step(): Promise<boolean> {
    try {
      return await this.#step()
    } catch (thrown) {
      const missing = thrown instanceof ConflictError ? thrown.details['missingIndex'] : undefined
      if (typeof missing !== 'string' || !(await this.#replace(missing))) throw thrown
      return true
    }
  }

  async #step(): Promise<boolean> {
    const { database, prefix, logger } = this.#options
    const { now, follower } = await readMoment(database.pool)
    if (follower === null || !isSameStore(now, follower)) {
      await beginIndices(database, prefix)
      logger.info({ incarnation: now.incarnation, from: follower?.incarnation ?? null }, 'search index is built anew')
      this.#sentUpTo = emptySnapshot
      this.#month = null
      this.#lookedAt = 0
      return true
    }
    await this.#look(follower)
    const changed = await this.#sendChanges(now, follower)
    const built = (await this.#sendMonthPage(follower)) || (await this.#finishBuilds())
    return changed || built || this.#checkSums()
  }

  async #sendChanges(now: StoreMoment, follower: FollowerPosition): Promise<boolean> {
    const { database, logger, faults } = this.#options
    const pointerMoved = now.pointerMoves !== follower.pointerMoves
    const epochs = [Math.min(follower.pointerEpoch, now.pointerEpoch), Math.max(follower.pointerEpoch, now.pointerEpoch)] as const
    const since: Since = { position: follower.position, xmin: now.xmin, sentUpTo: this.#sentUpTo, passedEpochs: pointerMoved ? epochs : [0, 0] }
    const periods = await findChangedPeriods(database.pool, since)
    let documents = 0
    let cursor: Cursor | null = { view: 0, after: null }
    while (periods.size > 0 && cursor !== null) {
      const from: Cursor = cursor
      const read = await readNumbered(database, follower.incarnation, async ({ client, number, asOfMs }) => {
        const cells: [View, readonly SearchCell[]][] = []
        const next = await this.#readPages(from, async (view, after, cellsMax) => {
          const page = await readChangedCells(client, view, since, periods.get(view.name) ?? [], after, cellsMax)
          cells.push([view, page.cells])
          return page
        }, (view) => periods.has(view.name))
        return { outbox: { number, asOfMs, cells, indices: await listIndices(client) } satisfies Outbox, next }
      })
      documents += await this.#send(read.outbox)
      cursor = read.next
    }
    const isDue = periods.size > 0 || pointerMoved || performance.now() - this.#movedAt >= idleMoveMs
    if (!isDue) return false
    await faults?.beforeMove?.()
    await moveFollower(database, follower, now)
    this.#movedAt = performance.now()
    this.#sentUpTo = now.snapshot
    if (pointerMoved) for (const view of views) this.#checks.set(view, { months: null, tries: 0 })
    if (documents > 0) logger.debug({ documents, position: now.xmin }, 'search index follows')
    return documents > 0
  }

  /** Fills one reading from several views. Resolves to where the next goes on, or null. */
  async #readPages(
    from: Cursor,
    read: (view: View, after: CellKey | null, cellsMax: number) => Promise<{ readonly cells: readonly SearchCell[]; readonly isLast: boolean }>,
    wanted: (view: View) => boolean,
  ): Promise<Cursor | null> {
    let room = this.#options.cellsMax ?? cellsMaxDefault
    let { after } = from
    for (let at = from.view; at < views.length; at++) {
      const view = views[at]!
      if (wanted(view)) {
        if (room === 0) return { view: at, after: null }
        const page = await read(view, after, room)
        room -= page.cells.length
        if (!page.isLast) return { view: at, after: page.cells.at(-1)!.key }
      }
      after = null
    }
    return null
  }

  /** To every index of its view; resolves to the number of documents. */
  async #send({ number, asOfMs, cells, indices }: Outbox): Promise<number> {
    const total = cells.reduce((sum, [, some]) => sum + some.length, 0)
    if (total > 0) await this.#options.faults?.beforeSend?.(total)
    for (const [view, some] of cells) {
      if (some.length === 0) continue
      const documents = some.map((cell) => cellDocument(view, cell, number, asOfMs))
      for (const index of indices) if (index.kind === view.name && index.state !== 'retired') await this.#put(index, documents)
    }
    return total
  }

  async #put(index: SearchIndexRow, documents: readonly SearchDocument[]): Promise<void> {
    const { database, search, logger } = this.#options
    await this.#make(index)
    const put = await search.put(index.name, documents)
    const highest = put.newer.reduce((version, one) => Math.max(version, one.versionThere), 0)
    if (highest > 0) await this.#refuseAhead(index, highest)
    if (put.refused.length > 0) {
      const bodies = new Map(documents.map((document) => [document.id, document.body ?? '']))
      await keepRejects(database.pool, index.name, put.refused.map(({ id, reason }) => ({ id, reason, document: bodies.get(id) ?? '' })))
      logger.warn({ index: index.name, documents: put.refused.length }, `the search index refused documents for good: ${put.refused[0]!.reason}. "tidemark search status" lists them.`)
      this.#rejects += put.refused.length
    }
    if (this.#rejects > put.refused.length) {
      const refused = new Set(put.refused.map(({ id }) => id))
      await dropRejects(database.pool, index.name, documents.map(({ id }) => id).filter((id) => !refused.has(id)))
    }
  }

  /** A version that the database never gave out means that the database was put back. */
  async #refuseAhead(index: SearchIndexRow, versionThere: number): Promise<void> {
    const { database, onAhead, logger } = this.#options
    const { now, follower } = await readMoment(database.pool)
    if (follower === null || !isSameStore(now, follower) || versionThere <= follower.readNumber) return
    logger.warn({ index: index.name, versionThere, readNumber: follower.readNumber }, 'the search index is ahead of the database: the database was put back, and begins a new incarnation')
    if (onAhead === undefined) await renewIncarnation(database, follower.incarnation)
    else await onAhead(follower.incarnation)
    throw new ConflictError('The database was put back: the follower begins anew.', { index: index.name, versionThere })
  }

  /** Creates an index that was never created. What bears its name already is of another life of this store. */
  async #make(index: SearchIndexRow): Promise<void> {
    if (index.isMade) return
    const { database, search } = this.#options
    await search.remove(index.name)
    await search.create(index.name)
    await markMade(database.pool, index.name)
    Object.assign(index, { isMade: true })
  }

  /** A page of the newest month that is due somewhere. Resolves to whether there was one. */
  async #sendMonthPage(follower: FollowerPosition): Promise<boolean> {
    const { database } = this.#options
    const due = await nextMonthDue(database.pool)
    if (due === null) return false
    const view = views.find((one) => one.name === due.index.kind)!
    const isSame = this.#month?.index === due.index.name && this.#month.month === due.month
    const cursor: MonthCursor = isSame ? this.#month! : { index: due.index.name, month: due.month, after: null, firstNumber: null }
    const cellsMax = this.#options.cellsMax ?? cellsMaxDefault
    const { page, outbox } = await readNumbered(database, follower.incarnation, async ({ client, number, asOfMs }) => {
      const read = await readMonthCells(client, view, due.month, cursor.after, cellsMax)
      return { page: read, outbox: { number, asOfMs, cells: [[view, read.cells]], indices: [due.index] } satisfies Outbox }
    })
    await this.#make(due.index)
    await this.#send(outbox)
    const firstNumber = cursor.firstNumber ?? outbox.number
    if (!page.isLast) {
      this.#month = { ...cursor, after: page.cells.at(-1)!.key, firstNumber }
      return true
    }
    this.#month = null
    if (due.reason !== 'build') await this.#mendStrays(follower, view, due, firstNumber)
    await finishMonth(database.pool, due.index.name, due.month)
    return true
  }

  /** Documents of the month that a whole sending did not touch: their cells are gone, so they are read and sent as they are now, which is zero. */
  async #mendStrays(follower: FollowerPosition, view: View, due: MonthDue, firstNumber: number): Promise<void> {
    const { database, search } = this.#options
    await search.refresh(due.index.name)
    const to = nextMonth(due.month)
    for await (const found of search.scan(due.index.name, periodField(view), due.month, to)) {
      const keys = found.filter((document) => document.version < firstNumber).map((document) => keyIn(view, document.source))
      if (keys.length === 0) continue
      const outbox = await readNumbered(database, follower.incarnation, async ({ client, number, asOfMs }) => ({
        number,
        asOfMs,
        cells: [[view, await readCells(client, view, due.month, keys)]] as const,
        indices: [due.index],
      }))
      await this.#send(outbox)
    }
  }

  async #finishBuilds(): Promise<boolean> {
    const { database, search, prefix, logger } = this.#options
    const built = await listBuilt(database.pool)
    for (const index of built) {
      await this.#make(index)
      await search.refresh(index.name)
      await search.point(aliasOf(prefix, index.kind), [index.name])
      await markServing(database, index)
      await this.#removeRetired(index)
      logger.info({ index: index.name }, 'search index serves')
    }
    return built.length > 0
  }

  /** The alias has moved: what served before goes, and whatever else bears the names of this view, of incarnations that nobody knows any more. */
  async #removeRetired(serving: SearchIndexRow): Promise<void> {
    const { database, search, prefix } = this.#options
    const known = await listIndices(database.pool)
    const kept = new Set(known.filter((row) => row.state !== 'retired').map((row) => row.name))
    for (const name of await search.list(`${aliasOf(prefix, serving.kind)}-*`)) if (!kept.has(name)) await search.remove(name)
    for (const row of known) if (row.kind === serving.kind && row.state === 'retired') await forgetIndex(database.pool, row.name)
  }

  /** Now and then: are templates, indices and aliases as they should be, and is none ahead of the database? */
  async #look(follower: FollowerPosition): Promise<void> {
    const isFirst = this.#lookedAt === 0
    if (!isFirst && performance.now() - this.#lookedAt < lookIntervalMs) return
    const { database, search, prefix } = this.#options
    if (isFirst) {
      for (const template of templatesOf(prefix)) await search.define(template)
      this.#rejects = await countRejects(database.pool)
    }
    for (const index of await listIndices(database.pool)) {
      if (index.kind === 'sales' || index.state === 'retired' || !index.isMade) continue
      if (isFirst) await search.refresh(index.name)
      const highest = await search.highest(index.name, numberField)
      if (highest !== null && highest > follower.readNumber) await this.#refuseAhead(index, highest)
      if (index.state === 'serving') await search.point(aliasOf(prefix, index.kind), [index.name])
    }
    this.#lookedAt = performance.now()
  }

  async #replace(missing: string): Promise<boolean> {
    const { database, prefix, logger } = this.#options
    const lost = (await listIndices(database.pool)).find((row) => row.name === missing && row.kind !== 'sales')
    if (lost === undefined) return false
    logger.warn({ index: missing }, 'a search index is gone and is built anew')
    await replaceIndex(database, prefix, lost)
    this.#month = null
    return true
  }

  /** With nothing to send: do the documents of each month add up to the figures? Those that differ are sent again whole. Resolves to whether there is more to do at once. */
  async #checkSums(): Promise<boolean> {
    if (performance.now() - this.#checkedAt >= checkIntervalMs) {
      for (const view of views) this.#checks.set(view, { months: null, tries: 0 })
      this.#checkedAt = performance.now()
    }
    const [next] = this.#checks
    if (next === undefined) return false
    const [view, { months, tries }] = next
    this.#checks.delete(view)
    const undecided = await this.#checkView(view, months)
    // Behind the others: a month that moves is asked again a little later.
    if (undecided === null || undecided.size === 0) return true
    if (tries < checkTriesMax) this.#checks.set(view, { months: undecided, tries: tries + 1 })
    return false
  }

  /** Resolves to the months that could not be compared, since they changed meanwhile; null where no index serves. */
  async #checkView(view: View, months: ReadonlySet<string> | null): Promise<ReadonlySet<string> | null> {
    const { database, search, logger } = this.#options
    const index = (await listIndices(database.pool)).find((row) => row.kind === view.name && row.state === 'serving')
    if (index === undefined) return null
    await search.refresh(index.name)
    const found = new Map((await search.sumByMonth(index.name, periodField(view), documentMeasures)).map((one) => [one.month, one.sums]))
    const { totals, changed } = await inTransaction(database, { isolation: 'REPEATABLE READ' }, async (client) => {
      const { now, follower } = await readMoment(client)
      const isQuiet = follower !== null && isSameStore(now, follower) && now.pointerMoves === follower.pointerMoves
      if (!isQuiet) return { totals: [], changed: null }
      const since: Since = { position: follower.position, xmin: now.xmin, sentUpTo: this.#sentUpTo, passedEpochs: [0, 0] }
      const periods = (await findChangedPeriods(client, since)).get(view.name) ?? []
      const dueRows = await run<{ month: string }>(client, 'SELECT month FROM search_months_due WHERE index_name = $1', [index.name])
      return { totals: await readMonthTotals(client, view), changed: new Set([...periods, ...dueRows.map((row) => row.month)].map((day) => day.slice(0, 7))) }
    })
    if (changed === null) return new Set(months ?? found.keys())
    const figures = new Map(totals.map((one) => [one.month, withNet(one.totals)]))
    const all = [...new Set([...found.keys(), ...figures.keys()])].filter((month) => months === null || months.has(month))
    const differing = all.filter((month) => !changed.has(month) && documentMeasures.some((name, i) => !isSameSum(found.get(month)?.[name] ?? 0, figures.get(month)?.[i] ?? 0n)))
    if (differing.length > 0) {
      logger.warn({ index: index.name, months: differing }, 'documents differ from the figures: their months are sent again')
      await resendMonths(database.pool, index.name, differing.map((month) => `${month}-01`))
    }
    return new Set(all.filter((month) => changed.has(month)))
  }
}

function isSameStore(now: StoreMoment, follower: FollowerPosition): boolean {
  return now.incarnation === follower.incarnation && now.systemIdentifier === follower.systemIdentifier && BigInt(follower.position) <= BigInt(now.xmin)
}

export function withNet(totals: readonly bigint[]): bigint[] {
  return [...totals, totals[5]! - totals[6]!]
}

/** The index adds up in doubles: above 2^53 a sum is compared as one, and `search verify` compares document by document. */
function isSameSum(found: number, figure: bigint): boolean {
  const exact = Number(figure)
  return Number.isSafeInteger(exact) ? found === exact : Math.abs(found - exact) <= Math.abs(exact) * 1e-12
}

export function nextMonth(month: string): string {
  const [year, number] = month.split('-').map(Number) as [number, number]
  return number === 12 ? `${String(year + 1).padStart(4, '0')}-01-01` : `${month.slice(0, 4)}-${String(number + 1).padStart(2, '0')}-01`
}

