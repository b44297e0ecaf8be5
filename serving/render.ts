/** Answers as the JSON text that the API sends and `query --json` prints: one rendering, so that both show the same. */
import type { Answer, PaceRow, ProductRow, RevenueRow } from '#core/receipt.ts'
import type { MinutesAnswer } from '#store/answer-minutes.ts'

function renderAnswer<Row>({ rows, receipt }: Answer<Row>): string {
  return JSON.stringify({ rows, receipt })
}

export function renderRevenue(answer: Answer<RevenueRow>): string {
  return renderAnswer(answer)
}

export function renderProducts(answer: Answer<ProductRow>): string {
  return renderAnswer(answer)
}

export function renderPace(answer: Answer<PaceRow>): string {
  return renderAnswer(answer)
}

export function renderMinutes({ rows, layer }: MinutesAnswer): string {
  return JSON.stringify({ rows, layer })
}
