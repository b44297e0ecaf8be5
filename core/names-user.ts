/** Whether a record's bytes carry a person's id, also where decoding refused them: as the value of a `userId` at any depth, or as the second field of a line. */

const depthMax = 64

/** Ids are compared as text; `1001` in JSON is the id `1001`. What is neither JSON nor a line is searched as both would write it. */
export function namesUser(bytes: Uint8Array, userId: string): boolean {
  const text = Buffer.from(bytes).toString('utf8').normalize('NFC')
  // Most records do not hold the id at all, also not in another spelling.
  if (!text.includes(userId) && !text.includes('\\u')) return false
  if (!/^\s*[{[]/.test(text)) return namesInLine(text, userId)
  try {
    return namesInValue(JSON.parse(text), userId, 0)
  } catch {
    return namesInText(text, userId)
  }
}

function namesInValue(value: unknown, userId: string, depth: number): boolean {
  if (typeof value !== 'object' || value === null || depth > depthMax) return false
  return Object.entries(value).some(([name, inner]) => (name === 'userId' && String(inner).normalize('NFC') === userId) || namesInValue(inner, userId, depth + 1))
}

function namesInLine(text: string, userId: string): boolean {
  return text.split(/\r?\n/).some((line) => {
    const [, second] = line.split(',', 3)
    return second !== undefined && second.trim().replaceAll(/^"|"$/g, '').normalize('NFC') === userId
  })
}

function namesInText(text: string, userId: string): boolean {
  const id = userId.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`"userId"\\s*:\\s*"?${id}(?![^",}\\s])`).test(text)
}
