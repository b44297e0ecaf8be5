/**
 * What became of a published report: the lines that changed, and why. Every section's differences add up to the total's, and so do the causes; where they
 * do not, something else changed a closed period, and nothing may be published before a person has looked. Pure.
 */
import { CorruptError } from '../errors.ts'
import { addFigures, figuresOfEvent, isNothing, isSameFigures, noFigures, subtractFigures } from './figures.ts'
import type { EventlessReason, ReportFigures, ReportLine, ReportLineKey, ReportSection, RestatedLine, RestatementCause, RestatementEvent, RestatementReason } from './report.ts'
import { restatementReasons } from './report.ts'

/** Sections that hold every event of the period exactly once. */
export const wholeSections: readonly ReportSection[] = ['total', 'city', 'category', 'city_category', 'day']

/** An event together with whether it was the first line of its order, which counts the order. */
export type ExplainingEvent = { readonly event: RestatementEvent; readonly firstLine: boolean }

/** Texts of any content may stand in a key. */
export function lineKey(line: ReportLineKey): string {
  return JSON.stringify([line.section, line.currency, line.day, line.city, line.section.startsWith('product') || line.section === 'season' ? null : line.category, line.season, line.productId])
}

/** Lines of the whole sections whose figures are other than were published, in the order of the new report, then those that are gone. */
export function restatedLines(published: readonly ReportLine[], known: readonly ReportLine[]): RestatedLine[] {
  const whole = (lines: readonly ReportLine[]): Map<string, ReportLine> => new Map(lines.filter((line) => wholeSections.includes(line.section)).map((line) => [lineKey(line), line]))
  const before = whole(published)
  const after = whole(known)
  const restated: RestatedLine[] = []
  for (const [key, line] of new Map([...after, ...[...before].filter(([key]) => !after.has(key))])) {
    const asPublished = before.get(key)?.now ?? noFigures
    const asKnownNow = after.get(key)?.now ?? noFigures
    if (isSameFigures(asPublished, asKnownNow)) continue
    const { section, currency, day, city, category, season, productId } = line
    restated.push({ section, currency, day, city, category, season, productId, asPublished, asKnownNow, difference: subtractFigures(asKnownNow, asPublished) })
  }
  return restated
}

/** What events add to the lines that they stand in, and to their reasons. */
export type EventSums = { readonly byReason: ReadonlyMap<string, RestatementCause>; readonly byLine: ReadonlyMap<string, ReportFigures>; add(event: ExplainingEvent): void }

/** To be added to one by one: a restatement may have more events than memory. */
export function openEventSums(): EventSums {
  const byReason = new Map<string, RestatementCause>()
  const byLine = new Map<string, ReportFigures>()
  return {
    byReason,
    byLine,
    add({ event, firstLine }) {
      const figures = figuresOfEvent({ ...event, firstLine })
      add(byReason, { reason: event.reason, currency: event.currency, events: 1, difference: figures })
      for (const key of keysOf(event)) byLine.set(key, addFigures(byLine.get(key) ?? noFigures, figures))
    },
  }
}

/**
 * The causes of the difference, by reason and currency: they add up to the total's. What the events leave unexplained of any line is put down to `rule`, what
 * else came between the two versions; without one it must be nothing. Throws CorruptError where a line's difference is not the sum of its events.
 */
export function causesOf(lines: readonly RestatedLine[], events: EventSums, rule: EventlessReason | null): RestatementCause[] {
  const byReason = new Map(events.byReason)
  const explained = events.byLine
  const differences = new Map(lines.map((line) => [lineKey(line), line]))
  for (const key of new Set([...explained.keys(), ...differences.keys()])) {
    const line = differences.get(key)
    const left = subtractFigures(line?.difference ?? noFigures, explained.get(key) ?? noFigures)
    if (isNothing(left)) continue
    if (rule === null) {
      throw new CorruptError(`The restatement does not add up: of ${key} ${JSON.stringify(left)} is explained by no event. Nothing was published; run "tidemark batch run --full", which computes everything from the original bytes.`, { key, left })
    }
    // A rule that moves figures between days alone is a cause of nothing in the total, and named.
    const [section, currency] = JSON.parse(key) as [ReportSection, string]
    add(byReason, { reason: rule, currency, events: 0, difference: section === 'total' ? left : noFigures })
  }
  return [...byReason.values()].sort((a, b) => (a.currency < b.currency ? -1 : a.currency > b.currency ? 1 : restatementReasons.indexOf(a.reason) - restatementReasons.indexOf(b.reason)))
}

function add(causes: Map<string, RestatementCause>, cause: RestatementCause): void {
  const key = `${cause.currency} ${cause.reason}`
  const known = causes.get(key)
  causes.set(key, known === undefined ? cause : { ...cause, events: known.events + cause.events, difference: addFigures(known.difference, cause.difference) })
}

/** The line of each whole section that an event stands in. */
function keysOf({ currency, localDay, city, category }: RestatementEvent): string[] {
  const none = { currency, day: null, city: null, category: null, season: null, productId: null }
  const keys: ReportLineKey[] = [
    { ...none, section: 'total' },
    { ...none, section: 'city', city },
    { ...none, section: 'category', category },
    { ...none, section: 'city_category', city, category },
    { ...none, section: 'day', day: localDay },
  ]
  return keys.map(lineKey)
}

/** An event is late by its own flag; what is not late and came after the report's horizon was logged in the hour of grace. */
export function reasonOf(kind: 'sale' | 'refund', late: boolean): RestatementReason {
  return late ? `late ${kind}` : kind
}
