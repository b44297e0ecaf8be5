/** The document of a report as text: what is frozen, byte for byte. Keys stand in the order in which the report was built. */
import type { Report } from '#core/report/report.ts'

export function renderReportJson(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`
}
