import type { Report, RestatementEvent } from '#core/report/report.ts'

export function renderReportCsv(report: Report): string {
  return JSON.stringify(report.lines)
}

export function renderRestatementCsv(report: Report, events: readonly RestatementEvent[]): string {
  return JSON.stringify([report.period, events])
}
