/** Texts as small numbers, for the life of one flush: a cell's key is then four integers and no string is built per event. */
export class Interner {
  readonly #codes = new Map<string, number>()
  readonly #texts: string[] = []

  code(text: string): number {
    let code = this.#codes.get(text)
    if (code === undefined) {
      code = this.#texts.length
      this.#codes.set(text, code)
      this.#texts.push(text)
    }
    return code
  }

  text(code: number): string {
    const text = this.#texts[code]
    if (text === undefined) throw new RangeError(`no text has code ${code}`)
    return text
  }

  get size(): number {
    return this.#texts.length
  }

  /** Code → rank of its text by UTF-16 units: an order that every worker shares. */
  ranks(): Int32Array {
    const codes = this.#texts.map((_, code) => code)
    codes.sort((a, b) => (this.#texts[a]! < this.#texts[b]! ? -1 : 1))
    const ranks = new Int32Array(codes.length)
    for (const [rank, code] of codes.entries()) ranks[code] = rank
    return ranks
  }
}
