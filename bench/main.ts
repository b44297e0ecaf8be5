/**
 * `npm run bench [NAME…] [-- --json]`: every measurement of this repository, as ratios of interleaved pairs where there is something to compare
 * with. Absolute numbers are printed beside them and are no gates. Results go to bench/results/ as JSON.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { benchDiskArchive } from './disk-archive.ts'
import { benchEndToEnd } from './end-to-end.ts'
import { benchFreshness } from './freshness.ts'
import { benchHdfsArchive, missingForHdfs } from './hdfs-archive.ts'
import { benchImportMemory } from './import-memory.ts'
import { benchKafkaEndToEnd, missingForKafka, missingForKcat } from './kafka-end-to-end.ts'
import { benchExactlyOnce } from './kafka-exactly-once.ts'
import { benchKafkaFlink, missingForFlinkBench } from './kafka-flink.ts'
import { benchKafkaFreshness } from './kafka-freshness.ts'
import { benchKeys } from './kafka-keys.ts'
import { benchPartitions } from './kafka-partitions.ts'
import { benchRecovery } from './kafka-recovery.ts'
import { benchKafkaSearch, missingForSearch } from './kafka-search.ts'
import { benchMemory } from './memory.ts'
import { benchMergedQueries } from './merged-query.ts'
import { benchMonths } from './months.ts'
import { benchParquetWriter } from './parquet-writer.ts'
import { benchPoison } from './poison.ts'
import { benchReportEngines, missingForReportEngines } from './report-engines.ts'
import { benchSpeedLoop } from './speed-loop.ts'
import type { Ratio } from './statistics.ts'

type Line = { readonly what: string; readonly measured: string; readonly goal: string }
type Bench = {
  readonly run: () => Promise<unknown>
  readonly lines: (result: never) => readonly Line[]
  /** Why this machine cannot run it; null where it can. */
  readonly missing: () => Promise<string | null>
}

const loadMax = 0.5

function bench<T>(run: () => Promise<T>, lines: (result: T) => readonly Line[], missing: Bench['missing'] = () => Promise.resolve(null)): Bench {
  return { run, lines, missing }
}

const number = (value: number): string => value.toLocaleString('en-GB')
const spread = ({ median, low, high }: Ratio): string => `${median.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`

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
  'import-memory': bench(
    () => benchImportMemory(1_000_000, 10_000_000),
    (one) => [
      {
        what: 'peak memory of an import, 10 million lines ÷ 1',
        measured: `${one.ratio.toFixed(2)} (${one.runs.map(({ peakMiB, seconds }) => `${number(peakMiB)} MiB in ${seconds} s`).join(', ')})`,
        goal: 'must 1.5',
      },
    ],
  ),
  months: bench(
    () => benchMonths(20_000, 5, 100, 1),
    (one) => [
      { what: 'P12 one more month, 60 months of history ÷ 12', measured: `${spread(one.incremental)} = ${one.incrementalSeconds.long} ÷ ${one.incrementalSeconds.short} s`, goal: 'must 1.3, aim 1.1' },
      { what: '  reading the archive and staging alone', measured: spread(one.recompute), goal: 'reported' },
      { what: 'P12f every month again, 60 months ÷ 12', measured: `${one.full.median.toFixed(2)} = ${one.fullSeconds.long} ÷ ${one.fullSeconds.short} s`, goal: 'must 6, aim 5.25' },
    ],
  ),
  'disk-archive': bench(
    () => benchDiskArchive(1_000_000, 7),
    (one) => [
      { what: 'P10 archive file to disk ÷ plain copy, synced', measured: `${spread(one.ofSyncedCopy)} = ${one.megabytesPerSecond.archiver} ÷ ${one.megabytesPerSecond.syncedCopy} MB/s`, goal: 'must 0.5, aim 0.75' },
      { what: '  the same ÷ a copy that is not synced', measured: `${spread(one.ofCopy)} (${one.megabytesPerSecond.copy} MB/s)`, goal: 'reported' },
    ],
  ),
  kafka: bench(
    async () => [await benchKafkaEndToEnd('bench', 2_000_000, 7), await benchKafkaEndToEnd('sparse', 1_000_000, 7)],
    (results) =>
      results.flatMap((one) => [
        { what: `P1 Kafka to figures ÷ kafkajs doing nothing, ${one.profile}`, measured: `${spread(one.ofKafkajs)} = ${number(one.linesPerSecond)} ÷ ${number(one.kafkajsLinesPerSecond)} lines/s`, goal: 'must 0.12, aim 0.25' },
        { what: `  the same in CPU seconds, ${one.profile}`, measured: `worker alone ${spread(one.cpuOfKafkajs.worker)}, with PostgreSQL ${spread(one.cpuOfKafkajs.withPostgres)}`, goal: 'reported' },
        { what: `P2 the same ÷ kcat, ${one.profile}`, measured: `${spread(one.ofKcat)} (${number(one.kcatLinesPerSecond)} lines/s)`, goal: 'must 0.05, aim 0.10' },
        { what: `  null benchmarks, ${one.profile}`, measured: `ours ${spread(one.nullOfOurs)}, kafkajs ${spread(one.nullOfKafkajs)}`, goal: '1.00 ± 0.10' },
        { what: `  CPU s per million lines, ${one.profile}`, measured: `worker ${one.cpuSecondsPerMillion.worker}, PostgreSQL ${one.cpuSecondsPerMillion.postgres}, broker ${one.cpuSecondsPerMillion.broker}; peak ${one.peakMiB} MiB`, goal: 'reported' },
      ]),
    missingForKcat,
  ),
  'kafka-flink': bench(
    async () => [await benchKafkaFlink('bench', 1_000_000, 7), await benchKafkaFlink('sparse', 1_000_000, 5)],
    (results) =>
      results.flatMap((one) => [
        { what: `P3 ÷ Flink SQL on the same job, ${one.profile}`, measured: `${spread(one.ratio)} = ${number(one.linesPerSecond)} ÷ ${number(one.flinkLinesPerSecond)} lines/s (cold ${number(one.flinkColdLinesPerSecond)})`, goal: 'must 2, aim 3' },
        { what: `P3m peak memory ÷ Flink's, ${one.profile}`, measured: `${one.memoryRatio} = ${number(one.peakMiB)} ÷ ${number(one.flinkPeakMiB)} MiB`, goal: 'must 0.33, aim 0.20' },
      ]),
    missingForFlinkBench,
  ),
  'kafka-exactly-once': bench(
    () => benchExactlyOnce(1_000_000, 7),
    (one) => [
      { what: 'P4 exactly once ÷ offsets apart from figures', measured: spread(one.ofOffsetsApart), goal: 'must 0.85, aim 0.95' },
      { what: 'P4 exactly once ÷ that, and no ledger pages', measured: spread(one.ofNoPages), goal: 'must 0.85, aim 0.95' },
    ],
    missingForKafka,
  ),
  'kafka-freshness': bench(
    () => benchKafkaFreshness(60),
    (one) => [{ what: 'P5 freshness at 300/s through Kafka', measured: `p50 ${one.p50Ms} ms, p99 ${one.p99Ms} ms, worst ${one.maxMs} ms`, goal: 'p99 must 2,000, aim 1,000' }],
    missingForKafka,
  ),
  'kafka-keys': bench(
    () => benchKeys(1_000_000, 5),
    (one) => [
      { what: 'P6 CPU s, ten times the keys ÷ the profile', measured: spread(one.tenfold), goal: 'must 1.5, aim 1.25' },
      { what: 'P6b CPU s, a hundred times the keys ÷ the profile', measured: spread(one.hundredfold), goal: 'must 3.0, aim 2.0' },
    ],
    missingForKafka,
  ),
  'kafka-partitions': bench(
    () => benchPartitions(1_000_000, 5),
    (one) => [
      { what: 'P7 12 partitions ÷ 1', measured: spread(one.twelveOfOne), goal: 'must 0.85, aim 0.95' },
      { what: '  2 and 4 workers ÷ 1', measured: `${spread(one.twoWorkers)} and ${spread(one.fourWorkers)}`, goal: 'reported' },
    ],
    missingForKafka,
  ),
  'kafka-recovery': bench(
    () => benchRecovery(5),
    (one) => [{ what: 'P18 from kill -9 to a lag below 1 s', measured: `${one.restartedMedianSeconds.toFixed(1)} s started again, ${one.standbyMedianSeconds.toFixed(1)} s with a second worker`, goal: 'must 45, aim 15' }],
    missingForKafka,
  ),
  'kafka-search': bench(
    () => benchKafkaSearch(1_000_000, 5),
    (one) => [{ what: 'P1 while Elasticsearch is fed ÷ alone', measured: `${spread(one.ratio)} = ${number(one.followedLinesPerSecond)} ÷ ${number(one.aloneLinesPerSecond)} lines/s`, goal: 'reported' }],
    missingForSearch,
  ),
  'hdfs-archive': bench(
    () => benchHdfsArchive(1_000_000, 7),
    (one) => [
      { what: 'P10 archive file into HDFS ÷ curl -L -T', measured: `${spread(one.archiver)} = ${one.megabytesPerSecond.archiver} ÷ ${one.megabytesPerSecond.curl} MB/s`, goal: 'must 0.5, aim 0.75' },
      { what: '  the same, read back whole', measured: `${spread(one.readBack)} (${one.megabytesPerSecond.readBack} MB/s)`, goal: 'reported' },
    ],
    missingForHdfs,
  ),
  'report-engines': bench(
    () => benchReportEngines(500_000, 7),
    (one) => [
      { what: 'P11 month report through Trino ÷ DuckDB', measured: `${spread(one.ratio)} = ${one.seconds.trino} ÷ ${one.seconds.duckDb} s`, goal: 'at most 10, aim 4' },
      { what: '  Trino, an empty query', measured: `${one.seconds.trinoEmptyQuery} s`, goal: 'reported' },
    ],
    missingForReportEngines,
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
  for (const [name, { run, lines: linesOf, missing }] of Object.entries(benches)) {
    if (names.length > 0 && !names.includes(name)) continue
    const reason = await missing()
    if (reason !== null) {
      process.stderr.write(`${name} is skipped: ${reason}\n`)
      lines.push({ what: name, measured: `skipped: ${reason}`, goal: '' })
      continue
    }
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
