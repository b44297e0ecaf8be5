/** A search index in memory, with the rules of the real one: external versions, strict existence, nothing found before a refresh; and faults on call. */
import { ConflictError, UnavailableError } from '#core/errors.ts'
import type { FoundDocument, SearchDocument, SearchIndex, SearchMonth, SearchPut, SearchTemplate } from '#core/ports.ts'

type Stored = { readonly version: number; readonly body: string | null }

export type PutFault = 'none' | 'before' | 'half' | 'after'

export class MemorySearch implements SearchIndex {
  readonly indices = new Map<string, Map<string, Stored>>()
  readonly #found = new Map<string, Map<string, Stored>>()
  readonly #aliases = new Map<string, readonly string[]>()
  /** Asked at each put: fails before anything, with half of it written, or after all of it (an answer that was lost). */
  fault: () => PutFault = () => 'none'
  /** Refuses these documents for good. */
  refuses: (document: SearchDocument) => boolean = () => false
  puts = 0

  async define(_template: SearchTemplate): Promise<void> {}

  async create(index: string): Promise<void> {
    if (!this.indices.has(index)) this.indices.set(index, new Map())
  }

  async remove(index: string): Promise<void> {
    this.indices.delete(index)
    this.#found.delete(index)
    for (const [alias, names] of this.#aliases) this.#aliases.set(alias, names.filter((name) => name !== index))
  }

  async list(pattern: string): Promise<string[]> {
    return [...this.indices.keys()].filter((name) => name.startsWith(pattern.slice(0, -1))).sort()
  }

  async point(alias: string, indices: readonly string[]): Promise<void> {
    for (const index of indices) this.#index(index)
    this.#aliases.set(alias, [...indices].sort())
  }

  async pointed(alias: string): Promise<string[]> {
    return [...(this.#aliases.get(alias) ?? [])]
  }

  async put(index: string, documents: readonly SearchDocument[]): Promise<SearchPut> {
    this.puts++
    const fault = this.fault()
    if (fault === 'before') throw new UnavailableError('not now', { index })
    const stored = this.#index(index)
    const put = { written: 0, newer: [] as SearchPut['newer'][number][], refused: [] as SearchPut['refused'][number][] }
    for (const document of documents.slice(0, fault === 'half' ? Math.floor(documents.length / 2) : documents.length)) {
      const there = stored.get(document.id)
      if (this.refuses(document)) put.refused.push({ id: document.id, reason: 'refused by the test' })
      else if (there !== undefined && there.version >= document.version) put.newer.push({ id: document.id, version: document.version, versionThere: there.version })
      else {
        stored.set(document.id, document)
        put.written++
      }
    }
    if (fault !== 'none') throw new UnavailableError('not now', { index })
    return put
  }

  async refresh(index: string): Promise<void> {
    this.#found.set(index, new Map([...this.#index(index)].filter(([, document]) => document.body !== null)))
  }

  async sumByMonth(index: string, dateField: string, fields: readonly string[]): Promise<SearchMonth[]> {
    const months = new Map<string, { documents: number; sums: Record<string, number> }>()
    for (const source of this.#sources(index)) {
      const month = String(source[dateField]).slice(0, 7)
      const entry = months.get(month) ?? { documents: 0, sums: Object.fromEntries(fields.map((field) => [field, 0])) }
      entry.documents++
      for (const field of fields) entry.sums[field]! += Number(source[field] ?? 0)
      months.set(month, entry)
    }
    return [...months].map(([month, entry]) => ({ month, ...entry })).sort((a, b) => (a.month < b.month ? -1 : 1))
  }

  async highest(index: string, field: string): Promise<number | null> {
    const values = this.#sources(index).map((source) => Number(source[field]))
    return values.length === 0 ? null : values.reduce((a, b) => Math.max(a, b))
  }

  async *scan(index: string, dateField: string, from: string, to: string): AsyncGenerator<readonly FoundDocument[]> {
    const found = [...(this.#found.get(index) ?? this.#missing(index))].map(([id, { version, body }]) => ({ id, version, source: parse(body!) }))
    yield found.filter(({ source }) => String(source[dateField]) >= from && String(source[dateField]) < to)
  }

  async get(index: string, id: string): Promise<FoundDocument | null> {
    const stored = this.#index(index).get(id)
    return stored === undefined || stored.body === null ? null : { id, version: stored.version, source: parse(stored.body) }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #index(index: string): Map<string, Stored> {
    return this.indices.get(index) ?? this.#missing(index)
  }

  #missing(index: string): never | Map<string, Stored> {
    if (this.indices.has(index)) return new Map()
    throw new ConflictError(`The index ${index} is not there.`, { missingIndex: index })
  }

  #sources(index: string): Record<string, unknown>[] {
    this.#index(index)
    return [...(this.#found.get(index) ?? new Map<string, Stored>()).values()].map(({ body }) => parse(body!))
  }
}

function parse(body: string): Record<string, unknown> {
  return JSON.parse(body, (_key, value: unknown, context?: { readonly source?: string }) => {
    if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value
    return BigInt(context.source)
  }) as Record<string, unknown>
}
