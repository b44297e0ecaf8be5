/**
 * Reads the YAML that docker-compose.yml is written in: block maps and lists, plain, quoted and `[flow, lists]` of one line, anchors, aliases and merge
 * keys. Whatever else YAML has is an error here, so that nothing is read wrongly. (The whole of YAML is read by `docker-compose config`, where it is.)
 */

export type Yaml = string | null | readonly Yaml[] | { readonly [name: string]: Yaml }
type Line = { readonly indent: number; readonly text: string; readonly number: number }

export function parseSimpleYaml(text: string): Yaml {
  const lines = text
    .split('\n')
    .map((line, i) => ({ indent: line.search(/\S/), text: line.trim(), number: i + 1 }))
    .filter(({ text: content }) => content !== '' && !content.startsWith('#'))
  const reader = { lines, at: 0, anchors: new Map<string, Yaml>() }
  const value = readBlock(reader, 0)
  if (reader.at < lines.length) throw unreadable(lines[reader.at]!)
  return value
}

type Reader = { readonly lines: readonly Line[]; at: number; readonly anchors: Map<string, Yaml> }

function readBlock(reader: Reader, indent: number): Yaml {
  const first = reader.lines[reader.at]
  if (first === undefined || first.indent < indent) return null
  return first.text.startsWith('- ') ? readList(reader, first.indent) : readMap(reader, first.indent)
}

function readList(reader: Reader, indent: number): Yaml {
  const items: Yaml[] = []
  for (let line = reader.lines[reader.at]; line?.indent === indent && line.text.startsWith('- '); line = reader.lines[reader.at]) {
    reader.at++
    items.push(readInline(reader, line.text.slice(2), line))
  }
  return items
}

function readMap(reader: Reader, indent: number): Yaml {
  const merged: Record<string, Yaml> = {}
  const own: Record<string, Yaml> = {}
  for (let line = reader.lines[reader.at]; line?.indent === indent; line = reader.lines[reader.at]) {
    const [, name, rest = ''] = /^([\w.<-]+):(?:\s+(.*))?$/.exec(line.text) ?? []
    if (name === undefined || name in own) throw unreadable(line)
    reader.at++
    const value = readValue(reader, rest, line)
    if (name !== '<<') own[name] = value
    else for (const source of Array.isArray(value) ? value.toReversed() : [value]) Object.assign(merged, source)
  }
  return { ...merged, ...own }
}

function readValue(reader: Reader, rest: string, line: Line): Yaml {
  const [, anchor, after = ''] = /^&([\w-]+)(?:\s+(.*))?$/.exec(rest) ?? []
  if (anchor === undefined) return rest === '' ? readBlock(reader, line.indent + 1) : readInline(reader, rest, line)
  const value = readValue(reader, after, line)
  reader.anchors.set(anchor, value)
  return value
}

function readInline(reader: Reader, text: string, line: Line): Yaml {
  if (text.startsWith('[') && text.endsWith(']')) return itemsOf(text.slice(1, -1)).map((item) => readInline(reader, item, line))
  if (text.startsWith('*')) {
    const value = reader.anchors.get(text.slice(1))
    if (value === undefined) throw unreadable(line)
    return value
  }
  if (/^"[^"\\]*"$/.test(text) || /^'[^']*'$/.test(text)) return text.slice(1, -1)
  if (/^[\w./][^#:]*(:[^\s#]+)*$/.test(text)) return text
  throw unreadable(line)
}

/** The items of a flow list: commas within quotes do not part them. */
function itemsOf(text: string): readonly string[] {
  return text.match(/"[^"]*"|'[^']*'|[^,\s][^,]*/g)?.map((item) => item.trim()) ?? []
}

function unreadable({ number, text }: Line): Error {
  return new Error(`Line ${number} is not the simple YAML that is read here: ${text}`)
}
