/** What a report's figures stand beside. */
import type { ComparedPeriod, Report, ReportFigures, ReportLine } from '#core/report/report.ts'
import { changeText, nothing, shortPeriodTitle } from '#core/report/words.ts'
import type { Measure } from './measures.ts'
import { signedText } from './measures.ts'

export type Comparison = { readonly compared: ComparedPeriod; readonly title: string; readonly of: (line: ReportLine) => ReportFigures | null }

/** The period before and the year before, where they are not the same: of a year they are. */
export function comparisonsOf({ kind, before, yearBefore }: Report): Comparison[] {
  const titled = (compared: ComparedPeriod): { compared: ComparedPeriod; title: string } => ({ compared, title: shortPeriodTitle(kind, compared.period) })
  const first: Comparison = { ...titled(before), of: (line) => line.before }
  return before.period === yearBefore.period ? [first] : [first, { ...titled(yearBefore), of: (line) => line.yearBefore }]
}

/** Of those the ones with books: the others need no column. */
export function changeHead(report: Report): string[] {
  return withBooks(report).flatMap(({ title }) => [`on ${title}`, '%'])
}

/** As amount and per cent for each of them. */
export function changesOf(report: Report, measure: Measure, line: ReportLine): string[] {
  return withBooks(report).flatMap(({ of }) => {
    const figures = of(line)
    const [value, base] = [measure.of(line.now), figures === null ? null : measure.of(figures)]
    return value === null || base === null ? [nothing, nothing] : [signedText(measure, value - base, line.currency), changeText(value, base)]
  })
}

export function withBooks(report: Report): Comparison[] {
  return comparisonsOf(report).filter(({ compared }) => compared.hasBooks)
}
