/**
 * A batch worker in a process of its own that stops in the middle: before a report is published it says `in hand`, and then does nothing until it is told.
 * `stop`: by SIGSTOP, until SIGCONT. `block`: its event loop is held until the file is there. Arguments: URL and namespace of the queue, database URL, schema,
 * topic, the lake's folder, the clock's lead in ms, manner, file.
 */
import { existsSync } from 'node:fs'
import { doWhatIsDue } from '#batch/ask.ts'
import { openJobs } from '#batch/jobs.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { openDatabase } from '#store/database.ts'
import { reportSchedule } from '#test/lab/report-schedule.ts'
import { booksOpenOn, leaseMs, lockMs } from './schedule-times.ts'

const [jobsUrl, namespace, url, schema, topic, root, leadMs, manner, file] = process.argv.slice(2) as [string, string, string, string, string, string, string, 'stop' | 'block', string]

function tell(line: string): void {
  process.stdout.write(`${line}\n`)
}

let isStopped = false
async function before(step: string): Promise<void> {
  if (step !== 'publish' || isStopped) return
  isStopped = true
  tell('in hand')
  if (manner === 'stop') process.kill(process.pid, 'SIGSTOP')
  else while (!existsSync(file)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
}

const lake = await openDiskLake({ root })
const asking = reportSchedule({
  database: openDatabase({ url, schema }),
  lake,
  engine: await openDuckDb({ lake, threads: 1 }),
  topic,
  booksOpenOn,
  clock: () => Date.now() + Number(leadMs),
  runBatch: async () => Promise.reject(new Error('The night has its batch.')),
  leaseMs,
  before,
  say: (fields, text) => tell(`${text} ${JSON.stringify(fields)}`),
})
const jobs = openJobs({ url: jobsUrl, namespace, lockMs }, (thrown) => tell(`queue: ${String(thrown)}`))
jobs.work(async () => {
  await doWhatIsDue(asking, new AbortController().signal).catch((thrown: unknown) => tell(`failed: ${String(thrown)}`))
  tell('asked')
})
await jobs.askOnce('ask')
process.stdin.on('end', () => process.exit(0)).resume()
