/**
 * The batch layer's part of an answer for one day, kept between answers. Rows of a row version never change, so what an earlier answer summed
 * from it is what this one would sum; which version counts is still read in this answer's own snapshot, together with everything that does
 * change. Bounded; the day asked for longest ago goes first.
 */

export type KeptCell<Keys> = { readonly keys: Keys; readonly currency: string; readonly added: readonly bigint[] }

/**
 * `publication` names the store, the batch and the moment it was published: in a store that was put back from a backup, version numbers come again
 * for other rows.
 */
export type KeptDay<Keys> = { readonly publication: string; readonly version: string; readonly cells: readonly KeptCell<Keys>[] }

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
