/** The queue of the nightly batch: Redis or PostgreSQL, and whether its schedule is registered as the settings say. */
import type { Scheduler } from '#batch/jobs.ts'
import { readScheduler } from '#batch/jobs.ts'
import { nightlyId, nightlyPattern } from '#batch/schedule.ts'
import type { RedisFacts } from '#engines/redis-inspect.ts'
import { run } from '#store/database.ts'
import type { Settings } from '../settings.ts'
import type { Examination, Report } from './finding.ts'
import type { StoreAccess } from './store-access.ts'
import { bytesText, shareText, versionAtLeast } from './units.ts'

const timeoutMs = 25_000
const requestTimeoutMs = 6_000
const memoryWarnShare = 0.8

export function jobsExaminations(settings: Settings, reaching: Promise<StoreAccess>): readonly Examination[] {
  const isRedis = /^rediss?:/.test(settings.jobsUrl)
  const fix = isRedis ? 'Start Redis, or correct JOBS_URL.' : 'Start PostgreSQL, or correct JOBS_URL.'
  return [{ area: 'jobs', check: 'reachable', fix, timeoutMs, look: (report) => (isRedis ? lookAtRedis(report, settings, reaching) : lookAtPostgres(report, settings, reaching)) }]
}

async function lookAtRedis(report: Report, settings: Settings, reaching: Promise<StoreAccess>): Promise<void> {
  const { inspectRedis } = await import('#engines/redis-inspect.ts')
  const facts = await inspectRedis(settings.jobsUrl, requestTimeoutMs)
  judgeRedis(report, facts)
  if (facts.isLoading) return
  const hasWork = await hasCounted(reaching)
  judgeScheduler(report, await readScheduler({ url: settings.jobsUrl, namespace: `${settings.schema}_jobs` }, nightlyId), settings, hasWork)
}

async function lookAtPostgres(report: Report, settings: Settings, reaching: Promise<StoreAccess>): Promise<void> {
  const access = await reaching
  const namespace = `${settings.schema}_jobs`
  if (settings.jobsUrl === '') {
    if (access.database === null) return report.ok('reachable', 'tables of its own PostgreSQL, which does not run')
    const [schema] = await run<{ present: boolean }>(access.database.pool, 'SELECT to_regnamespace($1) IS NOT NULL AS present', [namespace])
    if (!schema!.present) return judgeScheduler(report, null, settings, await hasCounted(reaching))
  }
  const scheduler = await readScheduler({ url: settings.jobsUrl === '' ? access.database!.url : settings.jobsUrl, namespace }, nightlyId)
  report.ok('reachable', 'tables of a PostgreSQL')
  judgeScheduler(report, scheduler, settings, await hasCounted(reaching))
}

/** Whether the shop has begun: before, nobody has registered anything. */
async function hasCounted(reaching: Promise<StoreAccess>): Promise<boolean> {
  const status = await reaching.then((access) => access.status()).catch(() => null)
  return status !== null && status.partitions.some(({ records }) => records > 0)
}

export function judgeRedis(report: Report, { version, role, isLoading, evictionPolicy, memoryUsedBytes, memoryMaxBytes, hasAppendOnlyFile, isLastWriteGood }: RedisFacts): void {
  if (isLoading) return report.fail('reachable', `Redis ${version} is still reading its data`, 'Wait until it has, then look again.')
  report.ok('reachable', `Redis answers, ${role}`)
  if (!versionAtLeast(version, 6, 2)) report.fail('version', `Redis ${version} lacks commands that BullMQ uses`, 'Use 6.2 or newer.')
  else report.ok('version', `Redis ${version}`)
  if (role !== '' && role !== 'master') report.fail('writable', `this Redis is a ${role}`, 'Let JOBS_URL name the primary.')
  if (evictionPolicy !== 'noeviction') report.warn('eviction', `maxmemory-policy is ${evictionPolicy}: a full Redis throws jobs and schedules away`, 'CONFIG SET maxmemory-policy noeviction, and the same in redis.conf.')
  else report.ok('eviction', 'noeviction')
  if (!isLastWriteGood) report.fail('persistence', 'its last write to disk failed', 'Free space on its disk and see its log: by default it takes no writes after a failed snapshot.')
  else if (!hasAppendOnlyFile) report.warn('persistence', 'appendonly is off: a restart forgets jobs since the last snapshot', 'CONFIG SET appendonly yes, and the same in redis.conf. Schedules are registered again within a minute; no night is missed, since PostgreSQL knows which are done.')
  else report.ok('persistence', 'append-only file')
  if (memoryMaxBytes > 0 && memoryUsedBytes > memoryMaxBytes * memoryWarnShare) report.warn('memory', `${bytesText(memoryUsedBytes)} of ${bytesText(memoryMaxBytes)} (${shareText(memoryUsedBytes / memoryMaxBytes)})`, 'Raise maxmemory, or give the queue a Redis of its own.')
}

export function judgeScheduler(report: Report, scheduler: Scheduler | null, { nightlyAt, zone }: Pick<Settings, 'nightlyAt' | 'zone'>, hasWork: boolean): void {
  const check = 'nightly schedule'
  const pattern = nightlyPattern(nightlyAt)
  const fix = 'tidemark up, or tidemark batch work, registers it within a minute.'
  if (scheduler === null) {
    if (hasWork) report.warn(check, 'is not registered', fix)
    else report.ok(check, 'none yet; the first "tidemark up" registers it')
  } else if (scheduler.pattern !== pattern || scheduler.zone !== zone) {
    report.warn(check, `fires at "${scheduler.pattern}" in ${scheduler.zone}, and the settings say "${pattern}" in ${zone}`, `${fix} Where it stays so, a batch layer with other settings (TIDEMARK_NIGHTLY_AT, TIDEMARK_ZONE) works on the same queue.`)
  } else report.ok(check, `at ${nightlyAt} in ${zone}${scheduler.nextMs === null ? '' : `, next ${new Date(scheduler.nextMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`}`)
}
