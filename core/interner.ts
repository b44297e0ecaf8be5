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
}
