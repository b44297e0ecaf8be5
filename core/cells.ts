/**
 * One view's part of the fold: a table of cells (four integer keys → measures) in typed arrays, open addressing. Sums of money are kept exact in two
 * doubles: `low` below 2^52 and `high` in units of 2^52, since one flush of amounts near the limit leaves a double's range.
 */
import type { ShopEvent } from './events.ts'
import type { Interner } from './interner.ts'
import type { Measured } from './views/measures.ts'
import type { View } from './views/view.ts'

const keyWidth = 4
const sumWidth = 9
const moneyUnit = 2 ** 52
const moneyUnitBig = 2n ** 52n
const firstCapacity = 1024

/** The cells of one view, touched since the last clear. */
export class Cells {
  readonly view: View
  readonly #texts: Interner
  #slots = new Int32Array(firstCapacity * 2).fill(-1)
  #keys = new Int32Array(firstCapacity * keyWidth)
  #sums = new Float64Array(firstCapacity * sumWidth)
  #size = 0

  readonly #slotOf: Int32Array

  constructor(view: View, texts: Interner) {
    this.view = view
    this.#texts = texts
    this.#slotOf = Int32Array.from(view.grain, (dimension) => dimension.slot)
  }

  get size(): number {
    return this.#size
  }

  /** Adds an event, of whose dimensions `codes` holds the code by slot. */
  add(event: ShopEvent, codes: Int32Array): void {
    const slotOf = this.#slotOf
    const at = this.#cellOf(codes[slotOf[0]!]!, codes[slotOf[1]!]!, codes[slotOf[2]!]!, codes[slotOf[3]!]!) * sumWidth
    // Read after #cellOf, which may have grown the array.
    const into = this.#sums
    if (event.kind === 'sale') {
      into[at]! += 1
      if (event.orderLine === 1) into[at + 1]! += 1
      into[at + 3]! += event.quantity
      addMoney(into, at + 5, event.totalMinor)
    } else {
      into[at + 2]! += 1
      into[at + 4]! += event.quantity
      addMoney(into, at + 7, event.totalMinor)
    }
  }

  /** Columns of the cells: the four dimensions (numbers as they are, texts as text), and the sums. Order is unspecified. */
  columns(): { readonly dimensions: readonly (readonly (number | string)[])[]; readonly measured: readonly Measured[] } {
    const cells = Array.from({ length: this.#size }, (_, cell) => cell)
    const dimensions = this.view.grain.map((dimension, width) =>
      cells.map((cell) => {
        const key = this.#keys[cell * keyWidth + width]!
        return dimension.kind === 'text' ? this.#texts.text(key) : key
      }),
    )
    return { dimensions, measured: cells.map((cell) => this.#measured(cell)) }
  }

  #cellOf(k0: number, k1: number, k2: number, k3: number): number {
    const mask = this.#slots.length - 1
    let slot = hash(k0, k1, k2, k3) & mask
    for (;;) {
      const cell = this.#slots[slot]!
      if (cell < 0) break
      const at = cell * keyWidth
      if (this.#keys[at] === k0 && this.#keys[at + 1] === k1 && this.#keys[at + 2] === k2 && this.#keys[at + 3] === k3) return cell
      slot = (slot + 1) & mask
    }
    const cell = this.#size++
    this.#slots[slot] = cell
    const at = cell * keyWidth
    this.#keys[at] = k0
    this.#keys[at + 1] = k1
    this.#keys[at + 2] = k2
    this.#keys[at + 3] = k3
    if (this.#size * keyWidth === this.#keys.length) this.#grow()
    return cell
  }

  #grow(): void {
    const capacity = (this.#keys.length / keyWidth) * 2
    const keys = new Int32Array(capacity * keyWidth)
    keys.set(this.#keys)
    this.#keys = keys
    const sums = new Float64Array(capacity * sumWidth)
    sums.set(this.#sums)
    this.#sums = sums
    const slots = new Int32Array(capacity * 2).fill(-1)
    const mask = slots.length - 1
    for (let cell = 0; cell < this.#size; cell++) {
      const at = cell * keyWidth
      let slot = hash(keys[at]!, keys[at + 1]!, keys[at + 2]!, keys[at + 3]!) & mask
      while (slots[slot]! >= 0) slot = (slot + 1) & mask
      slots[slot] = cell
    }
    this.#slots = slots
  }

  #measured(cell: number): Measured {
    const at = cell * sumWidth
    const sums = this.#sums
    return {
      transactions: sums[at]!,
      orders: sums[at + 1]!,
      refundEvents: sums[at + 2]!,
      unitsSold: sums[at + 3]!,
      unitsRefunded: sums[at + 4]!,
      grossMinor: money(sums, at + 5),
      refundsMinor: money(sums, at + 7),
    }
  }
}

function addMoney(sums: Float64Array, at: number, amountMinor: number): void {
  const low = sums[at]! + amountMinor
  if (low < moneyUnit) sums[at] = low
  else {
    sums[at] = low - moneyUnit
    sums[at + 1]! += 1
  }
}

function money(sums: Float64Array, at: number): bigint {
  const high = sums[at + 1]!
  return high === 0 ? BigInt(sums[at]!) : BigInt(high) * moneyUnitBig + BigInt(sums[at]!)
}

function hash(k0: number, k1: number, k2: number, k3: number): number {
  let h = Math.imul(k0, 0x9e3779b1) ^ Math.imul(k1, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35) ^ Math.imul(k2, 0x27d4eb2f) ^ Math.imul(k3, 0x165667b1)
  h = Math.imul(h ^ (h >>> 13), 0x9e3779b1)
  return h ^ (h >>> 16)
}
