/** Whether a record's bytes carry a person's id, also where decoding refused them: as the value of a `userId` at any depth, or as the second field of a line. */

const depthMax = 64

/** Ids are compared as text; `1001` in JSON is the id `1001`. What is neither JSON nor a line is searched as both would write it. */
export function namesUser(bytes: Uint8Array, userId: string): boolean {
  const text = textOf(bytes)
  // Most records do not hold the id at all, also not in another spelling.
  return (text.includes(userId) || text.includes('\\u')) && usersIn(text).has(userId)
}

/** Every id that `namesUser` finds. */
export function usersNamed(bytes: Uint8Array): ReadonlySet<string> {
  return usersIn(textOf(bytes))
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8').normalize('NFC')
}

function usersIn(text: string): Set<string> {
  const found = new Set<string>()
  if (!/^\s*[{[]/.test(text)) addOfLines(text, found)
  else {
    try {
      addOfValue(JSON.parse(text), 0, found)
    } catch {
      for (const [, quoted, bare] of text.matchAll(/"userId"\s*:\s*(?:"([^"]*)|([^",}\s]+))/g)) found.add((quoted ?? bare)!)
    }
  }
  return found
}

function addOfValue(value: unknown, depth: number, found: Set<string>): void {
  if (typeof value !== 'object' || value === null || depth > depthMax) return
  for (const [name, inner] of Object.entries(value)) {
    if (name === 'userId') found.add(String(inner).normalize('NFC'))
    addOfValue(inner, depth + 1, found)
  }
}

function addOfLines(text: string, found: Set<string>): void {
  for (const line of text.split(/\r?\n/)) {
    const [, second] = line.split(',', 3)
    if (second !== undefined) found.add(second.trim().replaceAll(/^"|"$/g, '').normalize('NFC'))
  }
}
