/** What the shop will send later, by (due time, order of entry): a binary heap. */

type Waiting<T> = { readonly dueMs: number; readonly entry: number; readonly item: T }

function comesBefore(a: Waiting<unknown>, b: Waiting<unknown>): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.entry < b.entry)
}

export class Pending<T> {
  readonly #heap: Waiting<T>[] = []
  #entries = 0

  get size(): number {
    return this.#heap.length
  }

  /** When the next item is due, Infinity where nothing waits. */
  get nextDueMs(): number {
    return this.#heap[0]?.dueMs ?? Infinity
  }

  add(dueMs: number, item: T): void {
    const heap = this.#heap
    const added = { dueMs, entry: this.#entries, item }
    this.#entries += 1
    let at = heap.length
    heap.push(added)
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above]
      if (parent === undefined || !comesBefore(added, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = added
  }

  /** The earliest item that is due at `momentMs` or before. */
  takeDue(momentMs: number): { readonly dueMs: number; readonly item: T } | null {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined || first.dueMs > momentMs) return null
    const last = heap.pop()
    if (last !== undefined && heap.length > 0) this.#sink(last)
    return first
  }

  #sink(sinking: Waiting<T>): void {
    const heap = this.#heap
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      let child = heap[below]
      if (child === undefined) break
      const right = heap[below + 1]
      if (right !== undefined && comesBefore(right, child)) {
        below += 1
        child = right
      }
      if (!comesBefore(child, sinking)) break
      heap[at] = child
      at = below
    }
    heap[at] = sinking
  }
}
