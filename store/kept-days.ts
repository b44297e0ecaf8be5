/**
 * The batch layer's part of an answer for one day, kept between answers. Rows of a row version never change, so what an earlier answer summed
 * from it is what this one would sum; which version counts is still read in this answer's own snapshot, together with everything that does
 * change. Bounded; the day asked for longest ago goes first.
 */

export type KeptCell<Keys> = { readonly keys: Keys; readonly currency: string; readonly added: readonly bigint[] }

/** Version numbers of a restored store may come again for other rows: the incarnation tells them apart. */
export type KeptDay<Keys> = { readonly incarnation: string; readonly version: string; readonly cells: readonly KeptCell<Keys>[] }

export const keptDaysMax = 64
export const keptCellsMax = 1_000

export class KeptDays<Keys> {
  readonly #days = new Map<string, KeptDay<Keys>>()

  find(question: string): KeptDay<Keys> | null {
    const day = this.#days.get(question)
    if (day === undefined) return null
    this.#days.delete(question)
    this.#days.set(question, day)
    return day
  }

  keep(question: string, day: KeptDay<Keys>): void {
    this.#days.delete(question)
    if (day.cells.length > keptCellsMax) return
    this.#days.set(question, day)
    if (this.#days.size > keptDaysMax) this.#days.delete(this.#days.keys().next().value!)
  }

  drop(question: string): void {
    this.#days.delete(question)
  }
}
