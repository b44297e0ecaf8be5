/** Markup by tagged templates: what is put in is text and gets escaped, unless it is markup itself. Pure. */

export type Markup = { readonly markup: string }
type Part = Markup | string | number | readonly Markup[] | null

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
/** Control characters, and those that turn the text behind them around: a name must not write over what stands beside it. */
const unprintable = /(?![\t\n\r])\p{Control}|[\u202A-\u202E\u2066-\u2069\uFFFE\uFFFF]|\p{Surrogate}/gu

export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return { markup: strings.map((text, at) => text + (at < parts.length ? textOf(parts[at]!) : '')).join('') }
}

export function raw(markup: string): Markup {
  return { markup }
}

export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => entities[character]!).replaceAll(unprintable, '\uFFFD')
}

/** A name that somebody else chose: its direction is its own and ends with it. */
export function name(text: string | null): Markup {
  return html`<bdi>${text === null || text === '' ? 'without a name' : text}</bdi>`
}

function textOf(part: Part): string {
  if (part === null) return ''
  if (typeof part === 'string') return escapeHtml(part)
  if (typeof part === 'number') return String(part)
  return 'markup' in part ? part.markup : part.map(({ markup }) => markup).join('')
}
