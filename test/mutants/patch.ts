/**
 * Unified diffs, applied by their text: a hunk's old lines must stand in the file exactly once, wherever they have moved. So a patch keeps its meaning while
 * others work on the file, and one that has lost it says so rather than change another place.
 */

export type Hunk = { readonly before: string; readonly after: string }
export type FilePatch = { readonly path: string; readonly hunks: readonly Hunk[] }

/** Throws where the text is no unified diff of existing files. */
export function parsePatch(text: string): FilePatch[] {
  const files: { path: string; hunks: { before: string; after: string }[] }[] = []
  let hunk: { before: string; after: string } | null = null
  const lines = text.split('\n')
  if (lines.pop() !== '') throw new Error('the patch does not end with a line break')
  for (const [at, line] of lines.entries()) {
    const isHeader = line.startsWith('--- ') && lines[at + 1]?.startsWith('+++ ') === true
    if (isHeader) {
      hunk = null
      continue
    }
    if (line.startsWith('+++ b/') && hunk === null) files.push({ path: line.slice('+++ b/'.length), hunks: [] })
    else if (line.startsWith('@@ ') && files.length > 0) files.at(-1)!.hunks.push((hunk = { before: '', after: '' }))
    else if (hunk === null) throw new Error(`line ${at + 1} of the patch belongs to no hunk: ${line}`)
    else {
      const rest = `${line.slice(1)}\n`
      if (line[0] === ' ' || line[0] === '-') hunk.before += rest
      if (line[0] === ' ' || line[0] === '+') hunk.after += rest
      if (!' -+'.includes(line[0] ?? '?')) throw new Error(`line ${at + 1} of the patch begins with neither space, - nor +: ${line}`)
    }
  }
  if (files.length === 0 || files.some((file) => file.hunks.length === 0)) throw new Error('the patch changes nothing')
  return files
}

/** The file's text after its hunks. Throws, naming the place, where a hunk's old lines stand in it not once. */
export function applyHunks({ path, hunks }: FilePatch, text: string): string {
  let patched = text
  for (const { before, after } of hunks) {
    const places = countPlaces(patched, before)
    if (places !== 1) throw new Error(`${path} has ${places} places for a hunk that needs exactly one (make the patch anew): ${before.trim().split('\n')[0]}`)
    if (before === after) throw new Error(`a hunk of ${path} changes nothing`)
    const at = placeOf(patched, before, 0)
    patched = patched.slice(0, at) + after + patched.slice(at + before.length)
  }
  return patched
}

/** Of whole lines. */
function placeOf(text: string, lines: string, from: number): number {
  for (let at = text.indexOf(lines, from); at >= 0; at = text.indexOf(lines, at + 1)) if (at === 0 || text[at - 1] === '\n') return at
  return -1
}

function countPlaces(text: string, lines: string): number {
  let places = 0
  for (let at = placeOf(text, lines, 0); at >= 0; at = placeOf(text, lines, at + 1)) places++
  return places
}
