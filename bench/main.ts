/**
 * `npm run bench [NAME…] [-- --json]`: every measurement of this repository, as ratios of interleaved pairs where there is something to compare
 * with. Absolute numbers are printed beside them and are no gates. Results go to bench/results/ as JSON.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { benchEndToEnd } from './end-to-end.ts'
import { benchFreshness } from './freshness.ts'
import { benchMemory } from './memory.ts'
import { benchMergedQueries } from './merged-query.ts'
import { benchParquetWriter } from './parquet-writer.ts'
import { benchPoison } from './poison.ts'
import { benchSpeedLoop } from './speed-loop.ts'

type Line = { readonly what: string; readonly measured: string; readonly goal: string }
type Bench = { readonly run: () => Promise<unknown>; readonly lines: (result: never) => readonly Line[] }

const loadMax = 0.5

function bench<T>(run: () => Promise<T>, lines: (result: T) => readonly Line[]): Bench {
  return { run, lines }
}

const number = (value: number): string => value.toLocaleString('en-GB')

const benches: Readonly<Record<string, Bench>> = {
  loop: bench(
    async () => [benchSpeedLoop('bench', 500_000, 5), benchSpeedLoop('sparse', 500_000, 5)],
    (results) => results.map((one) => ({ what: `decode + ledger + fold, ${one.profile}`, measured: `${number(one.linesPerSecond)} lines/s, ${one.cellsPerLine} cells a line`, goal: 'aim 400,000' })),
  ),
  'end-to-end': bench(
    async () => [await benchEndToEnd('bench', 1_000_000, 7), await benchEndToEnd('sparse', 1_000_000, 7)],
    (results) =>
      results.map((one) => ({
        what: `end to end ÷ reading the log, ${one.profile}`,
        measured: `${one.ratio.median.toFixed(3)} [${one.ratio.low.toFixed(3)}, ${one.ratio.high.toFixed(3)}] = ${number(one.linesPerSecond)} ÷ ${number(one.readLinesPerSecond)} lines/s`,
        goal: 'must 0.35',
      })),
  ),
  freshness: bench(
    () => benchFreshness(30),
    (one) => [{ what: 'freshness at 300/s, append to API answer', measured: `p50 ${one.p50Ms} ms, p99 ${one.p99Ms} ms`, goal: 'p99 must 2,000, aim 1,000' }],
  ),
  queries: bench(benchMergedQueries, (results) =>
    results.map((one, i) => ({ what: `merged query ÷ point select: ${one.name}`, measured: `${one.ratio} (p50 ${one.p50Us} µs, p99 ${one.p99Us} µs)`, goal: i === 0 ? 'must 3' : 'reported' })),
  ),
  parquet: bench(benchParquetWriter, (one) => [
    { what: 'Parquet writer ÷ DuckDB COPY, 1 thread', measured: `${one.ratio.toFixed(2)} (${number(Math.round(one.ours))} ÷ ${number(Math.round(one.theirs))} rows/s)`, goal: 'must 0.05, aim 0.25' },
    { what: 'Parquet file size ÷ DuckDB', measured: one.sizeRatio.toFixed(2), goal: 'must 1.6' },
  ]),
  poison: bench(benchPoison, (one) => [{ what: 'batch of 10 % rubbish ÷ clean batch, time', measured: `${one.ratio.median.toFixed(2)} [${one.ratio.low.toFixed(2)}, ${one.ratio.high.toFixed(2)}]`, goal: 'at most 2' }]),
  memory: bench(
    () => benchMemory(1_000_000),
    (one) => [{ what: 'peak PSS of up and ingest, a million lines', measured: `${number(one.peakMiB)} MiB (${Object.entries(one.atPeakMiB).map(([name, mib]) => `${name} ${mib}`).join(', ')})`, goal: 'must 1,024' }],
  ),
}

async function main(args: readonly string[]): Promise<void> {
  const json = args.includes('--json')
  const names = args.filter((argument) => argument !== '--json')
  const unknown = names.filter((name) => benches[name] === undefined)
  if (unknown.length > 0 || args.includes('--help')) {
    process.stderr.write(`npm run bench [-- NAME… --json]\nNames: ${Object.keys(benches).join(', ')}\n`)
    process.exitCode = 2
    return
  }
  const [load = 0] = loadavg()
  if (load > loadMax) process.stderr.write(`The machine is busy (load ${load.toFixed(2)}): absolute numbers are low, and ratios are wider than they should be.\n`)
  const results: Record<string, unknown> = {}
  const lines: Line[] = []
  for (const [name, { run, lines: linesOf }] of Object.entries(benches)) {
    if (names.length > 0 && !names.includes(name)) continue
    process.stderr.write(`${name} …\n`)
    const result = await run()
    results[name] = result
    lines.push(...linesOf(result as never))
  }
  const folder = fileURLToPath(new URL('./results', import.meta.url))
  mkdirSync(folder, { recursive: true })
  const report = { at: new Date().toISOString(), loadAtStart: load, node: process.version, results }
  writeFileSync(join(folder, `${report.at.replaceAll(':', '')}.json`), JSON.stringify(report, null, 1))
  if (json) process.stdout.write(`${JSON.stringify(report, null, 1)}\n`)
  else for (const line of lines) process.stdout.write(`${line.what.padEnd(52)} ${line.measured.padEnd(72)} ${line.goal}\n`)
}

await main(process.argv.slice(2))
