import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { ConfigError } from '#core/errors.ts'
import type { TruthFile, TruthMeasures } from '#generator/truth.ts'
import { Truth, parseTruth } from '#generator/truth.ts'
import { run } from '#store/database.ts'
import type { CommonOptions } from '../command.ts'
import { exitCodes, onEnvironment, withCommonOptions } from '../command.ts'
import type { Environment } from '../environment.ts'
import { count, print, printJson } from '../output.ts'

const shownMax = 20
const measureColumns = {
  transactions: 'transactions',
  orders: 'orders',
  refundEvents: 'refund_events',
  unitsSold: 'units_sold',
  unitsRefunded: 'units_refunded',
  grossMinor: 'gross_minor',
  refundsMinor: 'refunds_minor',
} as const
type MeasureName = keyof typeof measureColumns
const measureNames = Object.keys(measureColumns) as MeasureName[]

type Difference = { readonly view: 'revenue' | 'products'; readonly key: readonly string[]; readonly measure: string; readonly truth: string; readonly merged: string }

export function addVerify(program: Command): void {
  withCommonOptions(program.command('verify'))
    .description('compare the merged answers with the truth that generate wrote, key by key')
    .requiredOption('--truth <file...>', 'truth files; several are added up')
    .addHelpText('after', '\nExample:\n  ./tidemark verify --truth shop-truth.json\n\nExits with 3 on a difference of one penny.')
    .action(async (options: CommonOptions & { truth: string[] }) => {
      await onEnvironment(options, 'verify', (environment) => verify(environment, options))
    })
}

async function verify(environment: Environment, options: CommonOptions & { truth: string[] }): Promise<void> {
  const truth = readTruth(options.truth)
  const merged = await readMerged(environment)
  const truthFigures = new Map<string, Measures>()
  for (const row of truth.revenue) truthFigures.set(keyText(['revenue', row.day, row.city, row.category, row.currency]), measuresOf(row))
  for (const row of truth.products) truthFigures.set(keyText(['products', row.day, row.productId, row.currency]), measuresOf(row))
  const differences: Difference[] = []
  for (const key of new Set([...truthFigures.keys(), ...merged.keys()])) differences.push(...compare(key, truthFigures.get(key), merged.get(key)))
  if (options.json === true) printJson({ keys: truthFigures.size, differences: differences.length, listed: differences.slice(0, shownMax) })
  else {
    for (const { view, key, measure, truth: expected, merged: found } of differences.slice(0, shownMax)) print(`${view} ${key.join(' · ')}: ${measure} should be ${expected}, is ${found}`)
    if (differences.length > shownMax) print(`… and ${count(differences.length - shownMax)} more`)
    print(differences.length === 0 ? `No difference in ${count(truthFigures.size)} keys, to the penny.` : `${count(differences.length)} figures differ in ${count(truthFigures.size)} keys.`)
  }
  if (differences.length > 0) process.exitCode = exitCodes.difference
}

function readTruth(files: readonly string[]): TruthFile {
  const parsed = files.map((file) => {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (thrown) {
      throw new ConfigError(`The truth file ${file} cannot be read.`, { file }, thrown)
    }
    return parseTruth(text)
  })
  const [first, ...others] = parsed
  if (others.length === 0) return first!
  const sum = new Truth(first!)
  for (const file of parsed) sum.merge(file)
  return sum.toFile()
}

type Measures = Readonly<Record<MeasureName, bigint>>

function measuresOf(row: TruthMeasures): Measures {
  return Object.fromEntries(measureNames.map((name) => [name, BigInt(row[name])])) as Record<MeasureName, bigint>
}

function keyText(parts: readonly string[]): string {
  return parts.join('\u0000')
}

/** Both views in one statement, so in one snapshot: live traffic must not move between them. Only figures that are not all zero. */
async function readMerged(environment: Environment): Promise<Map<string, Measures>> {
  const sums = Object.values(measureColumns).map((column) => `sum(${column})::bigint AS ${column}`).join(', ')
  const rows = await run<Record<string, string | bigint>>(
    environment.database.pool,
    /* sql */ `
    SELECT 'revenue' AS view, local_day::text AS day, city AS first, category AS second, currency, ${sums} FROM merged_revenue GROUP BY 2, 3, 4, 5
    UNION ALL
    SELECT 'products', local_day::text, product_id, NULL, currency, ${sums} FROM merged_product_sales GROUP BY 2, 3, 5`,
  )
  const merged = new Map<string, Measures>()
  for (const row of rows) {
    const measures = Object.fromEntries(measureNames.map((name) => [name, row[measureColumns[name]] as bigint])) as Record<MeasureName, bigint>
    if (measureNames.every((name) => measures[name] === 0n)) continue
    const key = [row['view'], row['day'], row['first'], row['second'], row['currency']].filter((part) => part !== null) as string[]
    merged.set(keyText(key), measures)
  }
  return merged
}

function compare(key: string, truth: Measures | undefined, merged: Measures | undefined): Difference[] {
  const [view, ...rest] = key.split('\u0000')
  return measureNames
    .filter((name) => (truth?.[name] ?? 0n) !== (merged?.[name] ?? 0n))
    .map((name) => ({ view: view as Difference['view'], key: rest, measure: name, truth: String(truth?.[name] ?? 0n), merged: String(merged?.[name] ?? 0n) }))
}
