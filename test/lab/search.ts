/** The search follower on a lab, step by step, and what its documents say beside PostgreSQL. */
import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { FoundDocument, SearchIndex } from '#core/ports.ts'
import { openElasticsearch } from '#engines/elasticsearch.ts'
import type { View } from '#core/views/view.ts'
import { views } from '#core/views/all.ts'
import { documentMeasures, keyIn, periodField } from '#speed/search-documents.ts'
import type { FiguresOptions } from '#speed/search-figures.ts'
import { FiguresFollower } from '#speed/search-figures.ts'
import type { SalesOptions } from '#speed/search-sales.ts'
import { SalesFollower } from '#speed/search-sales.ts'
import { aliasOf, listIndices } from '#store/search-indices.ts'
import type { Lab } from '#test/lab.ts'
import { readMerged } from './merged.ts'

export type SearchOptions = FiguresOptions & SalesOptions

/** Names that no other suite uses, on an engine that all share; removed at the end. */
export async function openTestSearch(url: string): Promise<{ readonly search: SearchIndex; readonly prefix: string } & AsyncDisposable> {
  const search = await openElasticsearch({ url })
  const prefix = `test${randomUUID().slice(0, 8)}`
  return {
    search,
    prefix,
    async [Symbol.asyncDispose]() {
      for (const name of await search.list(`${prefix}-*`)) await search.remove(name)
      await search[Symbol.asyncDispose]()
    },
  }
}

export class SearchLab {
  readonly lab: Lab
  readonly options: SearchOptions
  readonly warnings: string[] = []
  figures: FiguresFollower
  #sales = new Map<string, SalesFollower>()

  constructor(lab: Lab, search: SearchIndex, prefix: string, options: Partial<SearchOptions> = {}) {
    this.lab = lab
    const warn = (_fields: object, text: string): void => void this.warnings.push(text)
    this.options = {
      database: lab.database,
      search,
      prefix,
      log: lab.log,
      decoder: lab.decoder,
      topic: lab.topic,
      zone: 'Europe/London',
      keepMonths: 1_000,
      logger: { debug: () => undefined, info: () => undefined, warn },
      ...options,
    }
    this.figures = new FiguresFollower(this.options)
  }

  /** The process is killed and started again. */
  async crash(): Promise<void> {
    this.figures = new FiguresFollower(this.options)
    await this.closeSales()
  }

  async closeSales(): Promise<void> {
    for (const follower of this.#sales.values()) await follower[Symbol.asyncDispose]()
    this.#sales.clear()
  }

  async stepSales(): Promise<boolean> {
    const families = (await listIndices(this.lab.database.pool)).filter((row) => row.kind === 'sales' && row.state !== 'retired')
    for (const name of this.#sales.keys()) {
      if (families.some((family) => family.name === name)) continue
      await this.#sales.get(name)![Symbol.asyncDispose]()
      this.#sales.delete(name)
    }
    let isMore = false
    for (const family of families) {
      let follower = this.#sales.get(family.name)
      if (follower === undefined) this.#sales.set(family.name, (follower = new SalesFollower({ ...this.options, topic: this.lab.topic }, family)))
      isMore = (await follower.step(30)) || isMore
    }
    return isMore
  }

  /** Steps of the figures until nothing is left to do. */
  async followFigures(): Promise<void> {
    await untilIdle(() => this.figures.step())
  }

  async followAll(): Promise<void> {
    await this.followFigures()
    await untilIdle(() => this.stepSales())
    await this.followFigures()
  }
}

const stepsMax = 2_000

async function untilIdle(step: () => Promise<boolean>): Promise<void> {
  for (let steps = 0; steps < stepsMax; steps++) if (!(await step()) && !(await step())) return
  throw new Error(`still busy after ${stepsMax} steps`)
}

/** What the alias of a view names now. */
export async function documentsOf(search: SearchIndex, prefix: string, view: View['name'] | 'sales'): Promise<FoundDocument[]> {
  const documents: FoundDocument[] = []
  const field = view === 'sales' ? 'localDay' : periodField(views.find((one) => one.name === view)!)
  for (const index of await search.pointed(aliasOf(prefix, view))) {
    await search.refresh(index)
    for await (const page of search.scan(index, field, '0001-01-01', '9999-12-31')) documents.push(...page)
  }
  return documents
}

/** E0 for the follower: every document of every view says what PostgreSQL says, and there is one for each cell. */
export async function expectSameFigures({ lab, options }: SearchLab): Promise<void> {
  const merged = await readMerged(lab)
  for (const view of views) {
    const cells = new Map<string, readonly string[]>()
    for (const document of await documentsOf(options.search, options.prefix, view.name)) {
      const totals = documentMeasures.map((name) => String(document.source[name]))
      const key = JSON.stringify(keyIn(view, document.source))
      expect(cells.has(key), `${view.name} has one document for ${key}`).toBe(false)
      if (totals.some((total) => total !== '0')) cells.set(key, totals)
    }
    const figures = new Map(
      [...merged.views.get(view.name)!].map(([key, sums]) => [
        key,
        [sums.transactions, sums.orders, sums.refundEvents, sums.unitsSold, sums.unitsRefunded, sums.gross, sums.refunds, sums.gross - sums.refunds].map(String),
      ]),
    )
    expect({ view: view.name, rows: sorted(cells) }).toEqual({ view: view.name, rows: sorted(figures) })
  }
}

/** A document for each counted event, with the same sums as the revenue. */
export async function expectSameSales({ lab, options }: SearchLab): Promise<void> {
  const merged = await readMerged(lab)
  const figures = [...merged.views.get('revenue')!.values()].reduce((sum, one) => ({ events: sum.events + one.transactions + one.refundEvents, gross: sum.gross + one.gross, refunds: sum.refunds + one.refunds }), { events: 0n, gross: 0n, refunds: 0n })
  const documents = await documentsOf(options.search, options.prefix, 'sales')
  const sum = (field: string): bigint => documents.reduce((total, { source }) => total + BigInt(source[field] as number), 0n)
  expect({ events: BigInt(documents.length), gross: sum('grossMinor'), refunds: sum('refundsMinor') }).toEqual(figures)
}

function sorted(cells: ReadonlyMap<string, readonly string[]>): [string, readonly string[]][] {
  return [...cells].sort(([a], [b]) => (a < b ? -1 : 1))
}
