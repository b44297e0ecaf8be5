/** The speed layer's fold: events into the cells of every view. Dimensions are turned into integers once an event, not once a view. */
import { Cells } from './cells.ts'
import type { ShopEvent } from './events.ts'
import { Interner } from './interner.ts'
import type { Measured } from './views/measures.ts'
import { localMonth } from './views/dimensions.ts'
import type { View } from './views/view.ts'

export type FoldedView = {
  readonly view: View
  /** One column per dimension of the grain: days and hours as numbers, texts as text. */
  readonly dimensions: readonly (readonly (number | string)[])[]
  readonly measured: readonly Measured[]
}

export class Fold {
  readonly #texts = new Interner()
  readonly #codes = new Int32Array(7)
  readonly #cells: readonly Cells[]

  constructor(views: readonly View[]) {
    this.#cells = views.map((view) => new Cells(view, this.#texts))
  }

  add(event: ShopEvent): void {
    const texts = this.#texts
    const codes = this.#codes
    // In the order of the dimensions' slots.
    codes[0] = event.localDay
    codes[1] = localMonth.of(event) as number
    codes[2] = event.localHour
    codes[3] = texts.code(event.city)
    codes[4] = texts.code(event.category)
    codes[5] = texts.code(event.currency)
    codes[6] = texts.code(event.productId)
    for (const cells of this.#cells) cells.add(event, codes)
  }

  /** Cells touched so far, over all views. */
  get size(): number {
    return this.#cells.reduce((sum, cells) => sum + cells.size, 0)
  }

  /** Each view's cells. */
  views(): FoldedView[] {
    return this.#cells.map((cells) => ({ view: cells.view, ...cells.columns() }))
  }
}
