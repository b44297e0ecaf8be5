/** The documents against the tree: what they name is there, what they list is whole, and what they show of commands is how commands answer. */
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { exitCodes } from '#cli/command.ts'
import { refusalReasons } from '#core/events.ts'
import { withSettings } from '../../docs/settings.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const decisions = readdirSync(join(root, 'docs/decisions'))
const documents = ['README.md', 'CHANGELOG.md', 'docs/ARCHITECTURE.md', 'docs/INVARIANTS.md', ...decisions.map((name) => `docs/decisions/${name}`)]

describe('INVARIANTS.md', () => {
  const sections = read('docs/INVARIANTS.md').split(/^## /m).slice(1)
  const named = (section: string): { file: string; title: string }[] => [...section.matchAll(/^- `(test\/[^`]+)`: (.+)$/gm)].map((match) => ({ file: match[1]!, title: match[2]! }))

  test('has the law and I1 to I8', () => {
    const numbers = sections.map((section) => /^(?:The law|I\d)/.exec(section)?.[0]).filter((heading) => heading !== undefined)
    expect(numbers).toEqual(['The law', 'I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8'])
  })

  test.each(sections.map((section) => [section.split('\n')[0]!, section] as const))('%s: is enforced, or says that there is nothing to enforce yet', (_heading, section) => {
    expect(named(section).length > 0 || section.includes('no test enforces it yet')).toBe(true)
    expect(section.match(/^- /gm)?.length ?? 0, 'lines that name no test').toBe(named(section).length)
  })

  test.each(sections.flatMap(named).map(({ file, title }) => [file, title] as const))('%s has a test "%s"', (file, title) => {
    expect(existsSync(join(root, file)), file).toBe(true)
    expect(titlesIn(read(file))).toContain(title)
  })
})

/** The titles of tests and groups as the source has them, placeholders included. */
function titlesIn(source: string): string[] {
  const titles: string[] = []
  // A call, or the end of the table of an `each`, followed by a literal.
  for (const match of source.matchAll(/(?:\b(?:test|it|describe)(?:\.\w+(?:<[^\n]*>)?(?:\([^\n]*?\))?)*|^\s*\](?: as const)?\))\(\s*(['"`])((?:\\.|(?!\1).)*)\1/gm)) {
    titles.push(match[2]!.replace(/\\(['"`\\])/g, '$1'))
  }
  return titles
}

test('titles are read from calls, tables and templates, and from nothing else', () => {
  const source = [
    `test('plain', () => {})`,
    `  it.skipIf(isRoot).each(points)("with \\"quotes\\" %s", f)`,
    `test.each([\n  [1, 2],\n])('after a table %i', f)`,
    'describe(`made of ${parts}`, f)',
    `expect('not a title').toBe(1)`,
  ].join('\n')
  expect(titlesIn(source)).toEqual(['plain', 'with "quotes" %s', 'after a table %i', 'made of ${parts}'])
})

describe('README.md', () => {
  const readme = read('README.md')

  test('the README is as docs/settings.ts makes it', () => {
    expect(readme, 'run node_modules/.bin/node docs/settings.ts').toBe(withSettings(readme))
  })

  test('has every reason for refusal, and no other', () => {
    const table = readme.slice(readme.indexOf('| reason | when |'), readme.indexOf('One more reason stands in that table'))
    expect([...table.matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1]!)).toEqual([...refusalReasons])
  })

  test('has every exit code', () => {
    const table = readme.slice(readme.indexOf('## Exit codes'), readme.indexOf('## Limits'))
    expect([...table.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]))).toEqual([0, ...Object.values(exitCodes)])
  })

  test('names each field of a receipt', () => {
    const type = /export type Receipt = \{\n([\s\S]*?)\n\}/.exec(read('core/receipt.ts'))![1]!
    const fields = [...type.matchAll(/^ {2}readonly (\w+):/gm)].map((match) => match[1]!)
    const table = readme.slice(readme.indexOf('## What a receipt says'), readme.indexOf('## Settings'))
    expect(fields.length).toBeGreaterThan(10)
    expect(fields.filter((field) => !table.includes(`\`${field}\``))).toEqual([])
  })

  test('names commands that there are', () => {
    const commands = readdirSync(join(root, 'cli/commands')).map((name) => name.replace('.ts', ''))
    const used = [...readme.matchAll(/\.\/tidemark ([a-z][a-z-]*)/g)].map((match) => match[1]!)
    expect(used.length).toBeGreaterThan(15)
    expect(used.filter((name) => !commands.includes(name))).toEqual([])
    const batch = read('cli/commands/batch.ts') + read('cli/commands/batch-compact.ts')
    const ofBatch = [...readme.matchAll(/(?:\.\/tidemark |\| `|, `)batch ([a-z]+)/g)].map((match) => match[1]!)
    expect(ofBatch.filter((name) => !new RegExp(`(?:command\\(|decision\\(batch, )'${name}\\b`).test(batch))).toEqual([])
  })

  test('names npm scripts that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const used = documents.flatMap((file) => [...read(file).matchAll(/npm run ([\w:]+)/g)].map((match) => match[1]!))
    expect(used.filter((name) => !(name in scripts))).toEqual([])
  })
})

describe('decisions', () => {
  test('are numbered without a gap, and their titles carry their numbers', () => {
    expect(decisions.map((name) => Number(name.slice(0, 4)))).toEqual(decisions.map((_name, i) => i + 1))
    for (const name of decisions) expect(read(`docs/decisions/${name}`).slice(0, 7), name).toBe(`# ${name.slice(0, 4)} `)
  })

  test('0001 lists the packages of package.json and no other', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>
    const rows = [...read('docs/decisions/0001-dependencies.md').matchAll(/^\| (`[^|]+`) \|/gm)]
    const listed = rows.flatMap((row) => row[1]!.split(', ').map((name) => name.slice(1, -1)))
    expect(listed.sort()).toEqual(Object.keys({ ...dependencies, ...devDependencies }).sort())
  })
})

describe('all documents', () => {
  test('link to what is there', () => {
    const broken = documents.flatMap((file) => {
      const links = [...read(file).matchAll(/\]\(([^)#\s]+)\)|src="([^"]+)"/g)].map((match) => (match[1] ?? match[2])!).filter((link) => !/^https?:/.test(link))
      return links.filter((link) => !existsSync(join(root, dirname(file), link))).map((link) => `${file} → ${link}`)
    })
    expect(broken).toEqual([])
  })

  test('name files of the repository that are there', () => {
    const wrong = documents.flatMap((file) =>
      [...read(file).matchAll(/`((?:core|store|engines|speed|batch|serving|generator|cli|bench|test|docs)\/[\w./-]+\.\w+)`/g)]
        .map((match) => match[1]!)
        .filter((name) => !existsSync(join(root, name)))
        .map((name) => `${file} → ${name}`),
    )
    expect(wrong).toEqual([])
  })

  test('the pictures are small, and the drawn one says in words what it shows', () => {
    expect(statSync(join(root, 'docs/page.png')).size).toBeLessThan(300_000)
    const drawing = read('docs/architecture.svg')
    for (const part of ['role="img"', 'aria-labelledby="title desc"', '<title id="title">', '<desc id="desc">', 'prefers-color-scheme: dark']) expect(drawing).toContain(part)
  })
})
