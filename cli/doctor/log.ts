/** The event log: Kafka's brokers and topics or the embedded one, how far the layers are behind it, and how near its retention comes to what is not archived. */
import { ConfigError, LossError } from '#core/errors.ts'
import type { EventLog, LogBounds } from '#core/ports.ts'
import type { KafkaFacts, KafkaTopicFacts } from '#engines/kafka-inspect.ts'
import { openDatabase, run } from '#store/database.ts'
import { readCommitted } from '#store/committed.ts'
import { readImportPartitions } from '#store/imports.ts'
import { archiveEnds } from '#store/register.ts'
import { topics, transactionsTopic } from '../environment.ts'
import type { Settings } from '../settings.ts'
import type { Examination, Report } from './finding.ts'
import type { StoreAccess } from './store-access.ts'
import { durationText, plural, shareText } from './units.ts'

const timeoutMs = 40_000
const requestTimeoutMs = 6_000
const readTimeoutMs = 10_000
/** The archive is written by night. */
const archiveIntervalMs = 86_400_000
/** Half of the retention: then a person still has as long again. */
const retentionAlarmShare = 0.5
const lagWarnMs = 60_000

export function logExaminations(settings: Settings, reaching: Promise<StoreAccess>): readonly Examination[] {
  const isKafka = settings.logUrl.startsWith('kafka://')
  const fix = isKafka ? 'Start Kafka, or correct LOG_URL (several brokers by commas).' : 'Start PostgreSQL, or correct LOG_URL.'
  return [{ area: 'log', check: 'reachable', fix, timeoutMs, look: (report, signal) => (isKafka ? lookAtKafka(report, settings, reaching, signal) : lookAtEmbedded(report, settings, reaching, signal)) }]
}

async function lookAtKafka(report: Report, settings: Settings, reaching: Promise<StoreAccess>, signal: AbortSignal): Promise<void> {
  const [{ inspectKafka }, { openKafkaLog }] = await Promise.all([import('#engines/kafka-inspect.ts'), import('#engines/kafka-log.ts')])
  const facts = await inspectKafka({ url: settings.logUrl, topics, requestTimeoutMs, signal })
  judgeKafka(report, facts)
  const found = facts.topics.get(transactionsTopic)
  // Where it has no leader, it would be asked in vain.
  if (found?.partitions.some(({ hasLeader }) => !hasLeader) === true) return
  const { schema } = settings
  await using log = await openKafkaLog({ url: settings.logUrl, groupPrefix: schema, clientId: 'tidemark-doctor', connectTimeoutMs: requestTimeoutMs, requestTimeoutMs, callTimeoutMs: readTimeoutMs })
  const retentionMs = found === null || found === undefined ? null : retentionMsOf(found)
  await lookAtPositions(report, { log, topic: transactionsTopic, access: await reaching.catch(() => null), retentionMs }, signal)
}

async function lookAtEmbedded(report: Report, settings: Settings, reaching: Promise<StoreAccess>, signal: AbortSignal): Promise<void> {
  const access = await reaching
  const url = settings.logUrl === '' ? access.database?.url : settings.logUrl
  if (url === undefined) return report.ok('reachable', 'tables of its own PostgreSQL, which does not run')
  const logSchema = `${settings.schema}_log`
  if (!(await hasSchema(url, logSchema))) return report.ok('reachable', 'a PostgreSQL, in which the first "tidemark up" makes the log\'s tables')
  const { openPostgresLog } = await import('#engines/postgres-log.ts')
  await using log = await openPostgresLog({ connectionString: url, schema: logSchema, pollIntervalMs: settings.logPollIntervalMs })
  report.ok('reachable', 'tables of a PostgreSQL; it keeps what is not archived, and log time is its own')
  await lookAtPositions(report, { log, topic: transactionsTopic, access, retentionMs: null }, signal)
}

/** Opening the log would make it. */
async function hasSchema(url: string, schema: string): Promise<boolean> {
  await using database = openDatabase({ url, connectionsMax: 1, applicationName: 'tidemark doctor', statementTimeoutMs: requestTimeoutMs })
  const [found] = await run<{ present: boolean }>(database.pool, 'SELECT to_regnamespace($1) IS NOT NULL AS present', [schema])
  return found!.present
}

/** `ours` is the topic that the figures come from. */
export function judgeKafka(report: Report, { brokers, fetchVersion, metadataVersion, topics: found }: KafkaFacts, ours: string = transactionsTopic): void {
  const silent = brokers.filter(({ failure }) => failure !== null)
  for (const { nodeId, address, failure } of silent) {
    report.fail(`broker ${nodeId}`, `the cluster calls it ${address}, where it cannot be reached: ${failure}`, 'Start it; where the name is one of its own network (docker), set advertised.listeners to an address that leads there from here.')
  }
  if (silent.length === 0) report.ok('reachable', `${plural(brokers.length, 'broker')}: ${brokers.map(({ address }) => address).join(', ')}`)
  // The connection itself refuses what is older than 3.1.
  report.ok('version', `Kafka ${releaseOf(fetchVersion, metadataVersion)}, and the client speaks its language`)
  for (const [topic, facts] of found) judgeTopic(report, topic, facts, topic === ours)
}

/** The oldest release whose newest requests these are: a broker does not say its version. */
function releaseOf(fetchVersion: number | null, metadataVersion: number | null): string {
  if ((fetchVersion ?? 0) >= 18) return '4.1 or newer'
  if ((metadataVersion ?? 0) >= 13) return '4.0'
  return (fetchVersion ?? 0) >= 17 ? '3.9' : '3.1 to 3.8'
}

function judgeTopic(report: Report, topic: string, facts: KafkaTopicFacts | null, isOurs: boolean): void {
  const check = `topic ${topic}`
  if (facts === null) return report.ok(check, 'is not there yet; the first start makes it')
  const { partitions, settings } = facts
  const headless = partitions.filter(({ hasLeader }) => !hasLeader)
  const behind = partitions.filter(({ replicas, inSync }) => inSync < replicas)
  const needed = Number(settings?.['min.insync.replicas'] ?? 1)
  const blocked = partitions.filter(({ inSync }) => inSync < needed)
  if (headless.length > 0) report.fail(check, `${listed(headless)} without a leader`, 'Start the brokers that hold them.')
  else if (blocked.length > 0) report.fail(check, `${listed(blocked)} with fewer replicas in step than min.insync.replicas=${needed}: writes are refused`, 'Start the brokers that are away.')
  else if (behind.length > 0) report.warn(check, `${listed(behind)} with replicas that are behind`, 'Start the brokers that are away; another loss may cost events.')
  else report.ok(check, `${plural(partitions.length, 'partition')}, ${plural(partitions[0]?.replicas ?? 0, 'replica')}`)
  if (settings !== null) return judgeTopicSettings(report, topic, settings, isOurs)
  report.warn(`${topic} log time`, 'this user may not read the topic\'s settings', 'Grant it DescribeConfigs on the topic, or see by hand that message.timestamp.type is LogAppendTime.')
}

function judgeTopicSettings(report: Report, topic: string, settings: Readonly<Record<string, string>>, isOurs: boolean): void {
  const alter = (setting: string): string => `kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name ${topic} --add-config ${setting}`
  const timestamps = settings['message.timestamp.type'] ?? ''
  const says = `is ${timestamps}: records carry their producers' clocks, which then decide what is late and what is refused`
  if (timestamps === 'LogAppendTime') report.ok(`${topic} log time`, 'LogAppendTime')
  else if (isOurs) report.fail(`${topic} log time`, says, alter('message.timestamp.type=LogAppendTime'))
  else report.warn(`${topic} log time`, says, alter('message.timestamp.type=LogAppendTime'))
  if (!isOurs) return
  const policy = settings['cleanup.policy'] ?? 'delete'
  if (policy.includes('compact')) report.fail(`${topic} clean-up`, `cleanup.policy is ${policy}: it removes records that are not archived`, alter('cleanup.policy=delete'))
  const retentionMs = retentionMsOf({ settings })
  const longer = `${alter(`retention.ms=${7 * archiveIntervalMs}`)}; or archive more often with tidemark batch run`
  if (retentionMs === null) report.ok(`${topic} retention`, 'without end in time')
  else if (retentionMs < archiveIntervalMs) report.fail(`${topic} retention`, `${durationText(retentionMs)} is shorter than the ${durationText(archiveIntervalMs)} between two archives: records will be lost`, longer)
  else if (retentionMs * retentionAlarmShare < archiveIntervalMs) report.warn(`${topic} retention`, `${durationText(retentionMs)} leaves less than a day to mend an archive that failed`, longer)
  else report.ok(`${topic} retention`, durationText(retentionMs))
  const retentionBytes = Number(settings['retention.bytes'] ?? -1)
  if (retentionBytes >= 0) report.warn(`${topic} retention size`, `a partition is cut at ${Math.round(retentionBytes / 1024 / 1024)} MB, archived or not`, alter('retention.bytes=-1'))
}

function retentionMsOf({ settings }: Pick<KafkaTopicFacts, 'settings'>): number | null {
  const text = settings?.['retention.ms']
  return text === undefined || Number(text) < 0 ? null : Number(text)
}

function listed(partitions: readonly { readonly partition: number }[]): string {
  return `partition ${partitions.map(({ partition }) => partition).join(', ')}`
}

export type Positions = {
  readonly log: EventLog
  readonly topic: string
  /** null where the database cannot be reached. */
  readonly access: StoreAccess | null
  /** null where the log forgets nothing that is not archived. */
  readonly retentionMs: number | null
}

/** Offsets may have gaps: the ends of transactions take some. */
function atMost(offsets: number): string {
  return `at most ${plural(offsets, 'record')}`
}

/** Lag of the speed layer, and the age of the oldest record that only the log has. */
export async function lookAtPositions(report: Report, positions: Positions, signal: AbortSignal): Promise<void> {
  const { log, topic, access } = positions
  const bounds = await boundsOf(log, topic)
  const database = access?.database ?? null
  const status = await access?.status().catch(() => null)
  if (database === null || status === null || status === undefined) {
    if (bounds === null) return report.ok('lag', `there is no topic ${topic} yet`)
    const held = [...bounds.end].reduce((sum, [partition, end]) => sum + end - (bounds.first.get(partition) ?? 0), 0)
    return report.ok('lag', `${atMost(held)} in ${plural(bounds.end.size, 'partition')}; the store, which knows what is counted, does not run`)
  }
  const [counted, archived, imports] = await Promise.all([
    readCommitted(database.pool, topic),
    archiveEnds(database.pool, topic),
    // A store that an older version left has no such table yet.
    readImportPartitions(database.pool, topic).catch(() => new Set<number>()),
  ])
  // No log knows what was imported.
  const committed = new Map([...counted].filter(([partition]) => !imports.has(partition)))
  if (bounds === null) return judgeMissingTopic(report, topic, committed)
  judgePartitions(report, committed, bounds)
  const lag = [...bounds.end].reduce((sum, [partition, end]) => sum + Math.max(0, end - (committed.get(partition) ?? bounds.first.get(partition) ?? 0)), 0)
  const uncountedMs = lag === 0 ? null : await oldestMs(positions, committed, bounds, signal)
  const says = lag === 0 ? 'everything in the log is counted' : `${atMost(lag)} not counted yet${uncountedMs === null ? '' : `, the oldest ${durationText(Math.max(0, Date.now() - uncountedMs))} old`}`
  if (uncountedMs !== null && Date.now() - uncountedMs > lagWarnMs) report.warn('lag', says, 'See that speed workers run; tidemark speed adds one, up to one per partition.')
  else report.ok('lag', says)
  await judgeArchive(report, positions, archived, bounds, signal)
}

async function boundsOf(log: EventLog, topic: string): Promise<LogBounds | null> {
  try {
    return await log.bounds(topic)
  } catch (thrown) {
    if (thrown instanceof ConfigError) return null
    throw thrown
  }
}

function judgeMissingTopic(report: Report, topic: string, committed: ReadonlyMap<number, number>): void {
  const counted = [...committed.values()].some((offset) => offset > 0)
  if (counted) report.fail('partitions', `the log has no topic ${topic}, of which the figures count records`, 'Give LOG_URL the log that these figures came from; what is archived is safe.')
  else report.ok('lag', `there is no topic ${topic} yet`)
}

function judgePartitions(report: Report, committed: ReadonlyMap<number, number>, { end }: LogBounds): void {
  const gone = [...committed.keys()].filter((partition) => !end.has(partition))
  const beyond = [...committed].filter(([partition, offset]) => offset > (end.get(partition) ?? Infinity))
  if (gone.length > 0) report.fail('partitions', `the figures count partition ${gone.join(', ')}, which the log does not have`, 'The topic was made anew with fewer: give LOG_URL the log that these figures came from, or give the ranges up with tidemark batch accept-loss.')
  if (beyond.length > 0) report.fail('partitions', `the figures stand beyond the end of partition ${beyond.map(([partition]) => partition).join(', ')}: the topic was rebuilt, or is another one`, 'Put the log back, or give the ranges up with tidemark batch accept-loss.')
  if (gone.length + beyond.length === 0 && committed.size > 0) report.ok('partitions', `${plural(end.size, 'partition')}, ${committed.size} of them counted from`)
}

async function judgeArchive(report: Report, positions: Positions, archived: ReadonlyMap<number, number>, bounds: LogBounds, signal: AbortSignal): Promise<void> {
  const { retentionMs } = positions
  const lost = [...bounds.first].filter(([partition, first]) => archived.has(partition) && archived.get(partition)! < first)
  for (const [partition, first] of lost) {
    report.fail('archive', `partition ${partition} begins at ${first}, and is archived to ${archived.get(partition)} only: what lies between is gone from the log`, `Put the log back, or: tidemark batch accept-loss ${partition}:${archived.get(partition)}-${first}`)
  }
  if (lost.length > 0) return
  const atRisk = [...bounds.end].reduce((sum, [partition, end]) => sum + Math.max(0, end - (archived.get(partition) ?? bounds.first.get(partition) ?? 0)), 0)
  if (atRisk === 0) return report.ok('archive', 'everything in the log is archived')
  const oldest = await oldestMs(positions, archived, bounds, signal)
  const ageMs = oldest === null ? 0 : Math.max(0, Date.now() - oldest)
  const says = `${atMost(atRisk)} not archived yet, the oldest ${durationText(ageMs)} old`
  if (retentionMs === null || ageMs < retentionMs * retentionAlarmShare) return report.ok('archive', retentionMs === null ? says : `${says}: ${shareText(ageMs / retentionMs)} of the log's retention`)
  const fix = 'tidemark batch run archives now; where it fails, mend what it names, and raise the topic\'s retention.ms until it does.'
  if (ageMs < retentionMs) report.warn('archive', `${says}: ${shareText(ageMs / retentionMs)} of the log's retention`, fix)
  else report.fail('archive', `${says}, older than the log's retention: it may be gone at any moment`, fix)
}

/** Log time of the oldest record at or above the positions; null where there is none, or where it is gone. */
async function oldestMs({ log, topic }: Positions, positions: ReadonlyMap<number, number>, { first, end }: LogBounds, signal: AbortSignal): Promise<number | null> {
  const from = new Map([...end].map(([partition]) => [partition, positions.get(partition) ?? first.get(partition) ?? 0] as const).filter(([partition, offset]) => offset < end.get(partition)!))
  const stop = new AbortController()
  let oldest: number | null = null
  const unseen = new Set(from.keys())
  try {
    for await (const { partition, records } of log.read(topic, from, { to: end, signal: AbortSignal.any([signal, stop.signal, AbortSignal.timeout(readTimeoutMs)]) })) {
      if (!unseen.has(partition) || records.length === 0) continue
      unseen.delete(partition)
      oldest = Math.min(oldest ?? Infinity, records[0]!.logTimeMs)
      if (unseen.size === 0) break
    }
  } catch (thrown) {
    if (!(thrown instanceof LossError)) throw thrown
  } finally {
    stop.abort()
  }
  return oldest
}
