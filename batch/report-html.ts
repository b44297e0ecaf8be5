import type { Report } from '#core/report/report.ts'

export function renderReportHtml(report: Report): string {
  return `<!doctype html>${report.period}`
}
