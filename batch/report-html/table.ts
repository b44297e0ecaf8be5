/** Tables: a row's first cells are names, the rest figures, to the right. */
import type { Markup } from './markup.ts'
import { html } from './markup.ts'

export type Cell = Markup | string

export type TableOptions = {
  /** Of rows that sum the others up; they stand last. */
  readonly foot?: readonly (readonly Cell[])[]
  /** More rows than belong on paper. */
  readonly isLong?: boolean
  readonly style?: string
}

/** `names` cells of each row are text; the last of them is the row's head. Wide tables scroll in a box of their own. */
export function table(caption: string, head: readonly Cell[], rows: readonly (readonly Cell[])[], names: number, options: TableOptions = {}): Markup {
  const align = (at: number): string => (at < names ? 'text' : 'figure')
  const heads = head.map((cell, at) => (cell === '' ? html`<td class="${align(at)}"></td>` : html`<th scope="col" class="${align(at)}">${cell}</th>`))
  const line = (cells: readonly Cell[]): Markup =>
    html`<tr>${cells.map((cell, at) => (at === names - 1 ? html`<th scope="row" class="${align(at)}">${cell}</th>` : html`<td class="${align(at)}">${cell}</td>`))}</tr>
`
  const foot = options.foot === undefined || options.foot.length === 0 ? null : html`<tfoot>${options.foot.map(line)}</tfoot>`
  return html`<div class="scroll" role="region" aria-label="${caption}" tabindex="0"><table class="${options.style ?? ''}"><caption>${caption}</caption><thead><tr>${heads}</tr></thead><tbody>
${rows.map(line)}</tbody>${foot}</table></div>`
}

/** Closed on a screen and open on paper, except what is too long for it. */
export function behind(summary: string, content: Markup, isLong = false): Markup {
  return html`<details${isLong ? html` class="long"` : null}><summary>${summary}</summary>${content}</details>`
}

/** A bar as long as the value's share of the greatest; hollow below zero. */
export function bar(value: bigint, greatest: bigint): Markup {
  const size = value < 0n ? -value : value
  const tenths = greatest === 0n ? 0n : (size * 1000n) / greatest
  const width = `${tenths / 10n}.${tenths % 10n}`
  return html`<svg class="bar${value < 0n ? ' below' : ''}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect width="${width}" height="10"/></svg>`
}

export function greatestOf(values: readonly bigint[]): bigint {
  return values.reduce((greatest, value) => ((value < 0n ? -value : value) > greatest ? (value < 0n ? -value : value) : greatest), 0n)
}
