/**
 * Every setting, once: its environment name, default, unit, reason and check. The environment is read here only; the table in the README is made from
 * here. Secrets may come from a file named by `<NAME>_FILE`.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { parseDay } from '#core/calendar.ts'
import { ConfigError } from '#core/errors.ts'
import { currencyExponent } from '#core/money.ts'

type Declared = {
  readonly env: string
  readonly default: string
  readonly unit: string
  readonly reason: string
  readonly schema: z.ZodType<string | number, string>
}

function text(env: string, fallback: string, unit: string, reason: string, check: z.ZodType<string, string> = z.string()) {
  return { env, default: fallback, unit, reason, schema: check } satisfies Declared
}

function whole(env: string, fallback: number, unit: string, reason: string, min: number, max: number) {
  const schema = z
    .string()
    .regex(/^\d{1,15}$/, `a whole number from ${min} to ${max} is expected`)
    .transform(Number)
    .pipe(z.number().min(min, `at least ${min}`).max(max, `at most ${max}`))
  return { env, default: String(fallback), unit, reason, schema } satisfies Declared
}

const zone = z.string().refine((value) => {
  try {
    new Intl.DateTimeFormat('en', { timeZone: value })
    return !/^[+-]/.test(value)
  } catch {
    return false
  }
}, 'an IANA zone such as Europe/London is expected')
const currency = z.string().refine((value) => currencyExponent(value) !== undefined, 'an ISO 4217 code such as GBP is expected')
const day = z.string().refine((value) => parseDay(value) !== null, 'a day such as 2024-01-01 is expected')
const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'a time of day such as 03:00 is expected')
const schemaName = z.string().regex(/^[a-z_][a-z0-9_]{0,40}$/, 'lower-case letters, digits and _ are expected')
const url = (...schemes: readonly string[]) =>
  z
    .string()
    .refine(
      (value) => value === '' || schemes.some((scheme) => value.startsWith(`${scheme}://`)),
      `empty or ${schemes.map((name) => `${name}://…`).join(' or ')} is expected`,
    )

const mailAddress = /^[^\s@<>(),;:"\\]+@[^\s@<>(),;:"\\]+$/
const mailAddresses = z
  .string()
  .refine((value) => value === '' || value.split(',').every((address) => mailAddress.test(address.trim())), 'addresses such as books@shop.example are expected, several by commas')
const mailSender = z
  .string()
  .refine((value) => value === '' || mailAddress.test(/^[^<>\r\n"]*<([^<>]+)>$/.exec(value)?.[1] ?? value), 'an address such as books@shop.example or Shop books <books@shop.example> is expected')

export const declaredSettings = {
  dataDirectory: text('TIDEMARK_DATA', '.tidemark', 'folder', 'Everything that the embedded engines keep; `--data` overrides it.'),
  databaseUrl: text('DATABASE_URL', '', 'URL', 'Where the layers meet. Empty: a PostgreSQL of our own in the data folder.', url('postgres', 'postgresql')),
  logUrl: text('LOG_URL', '', 'URL', 'The event log: `kafka://host:9092,host2:9092`. Empty: append-only tables in that PostgreSQL.', url('postgres', 'postgresql', 'kafka')),
  lakeUrl: text('LAKE_URL', '', 'URL', 'The lake: `webhdfs://namenode:9870,namenode2:9870/shopsphere`. Empty: the folder `lake` in the data folder.', url('file', 'webhdfs')),
  lakeLocation: text('LAKE_LOCATION', '', 'URL', 'What the query engine calls the root of an HDFS lake: `hdfs://namenode:8020/shopsphere`.', url('hdfs')),
  queryUrl: text('QUERY_URL', '', 'URL', 'The query engine: `trino://tidemark@coordinator:8080/hive`, over TLS `trinos://`. Empty: DuckDB in the batch process.', url('duckdb', 'trino', 'trinos')),
  jobsUrl: text('JOBS_URL', '', 'URL', 'Where BullMQ keeps its jobs: `redis://host:6379`. Empty: that PostgreSQL, in schema `tidemark_jobs`.', url('postgres', 'postgresql', 'redis', 'rediss')),
  searchUrl: text('SEARCH_URL', '', 'URL', 'The search index that follows: `http://elasticsearch:9200`. Empty: none.', url('http', 'https')),
  searchApiKey: text('SEARCH_API_KEY', '', 'key', 'Of Elasticsearch, where it wants one; a user and a password may stand in `SEARCH_URL` instead.'),
  searchKeepMonths: whole('TIDEMARK_SEARCH_KEEP_MONTHS', 24, 'months', 'Sales older than this have no document: two years to compare with.', 1, 1_200),
  smtpUrl: text('SMTP_URL', '', 'URL', 'The mail server that reports go out by: `smtp://user:password@host:587`, over TLS from the start `smtps://`. Empty: no mail.', url('smtp', 'smtps')),
  reportMailTo: text('REPORT_MAIL_TO', '', 'addresses', 'Who gets each new report by mail, by commas; each a mail of its own.', mailAddresses),
  reportMailFrom: text('REPORT_MAIL_FROM', '', 'address', 'Whom the mail is from: `Shop books <books@shop.example>`. Needed with `SMTP_URL`.', mailSender),
  reportWebhookUrl: text('REPORT_WEBHOOK_URL', '', 'URL', 'Gets each new report as JSON that Slack shows too. Empty: none.', url('http', 'https')),
  reportWebhookSecret: text('REPORT_WEBHOOK_SECRET', '', 'key', 'Signs what the webhook gets: `X-Tidemark-Signature: sha256=…`, HMAC-SHA256 of the body.'),
  publicUrl: text('TIDEMARK_PUBLIC_URL', '', 'URL', 'Where people reach the page: links in mails and webhooks begin with it. Empty: no links.', url('http', 'https')),
  schema: text('TIDEMARK_SCHEMA', 'tidemark', 'name', 'Schema of the store; a store is a schema.', schemaName),
  zone: text('TIDEMARK_ZONE', 'Europe/London', 'IANA zone', 'The shop\'s days and hours. Of a filled store it changes by `batch run --full` alone.', zone),
  currency: text('TIDEMARK_CURRENCY', 'GBP', 'ISO 4217', 'Currency of CSV lines, and of JSON events that name none. Of a filled store it changes by `batch run --full` alone.', currency),
  booksOpenOn: text('TIDEMARK_BOOKS_OPEN_ON', '2024-01-01', 'day', 'Earlier events count, but no report is due for them.', day),
  host: text('TIDEMARK_HOST', '127.0.0.1', 'address', 'Nothing listens beyond this machine unless told to.'),
  port: whole('TIDEMARK_PORT', 8080, 'port', 'The page and the API; the next free one is taken and said.', 1, 65_535),
  logPartitions: whole('TIDEMARK_LOG_PARTITIONS', 4, 'partitions', 'Of a new topic: as many workers can share it.', 1, 1_000),
  logKeepDays: whole('TIDEMARK_LOG_KEEP_DAYS', 7, 'days', 'How long the embedded log keeps what is archived: a week to repair the lake from.', 1, 3_650),
  logPollIntervalMs: whole('TIDEMARK_LOG_POLL_MS', 50, 'ms', 'How often the embedded log is asked for more: a part of the freshness.', 5, 10_000),
  flushIntervalMs: whole('TIDEMARK_FLUSH_MS', 250, 'ms', 'A flush with little traffic: half of the freshness goal of a second, and four commits a second.', 10, 60_000),
  flushRecordsMax: whole('TIDEMARK_FLUSH_RECORDS', 100_000, 'records', 'A flush with a backlog: larger ones touch fewer cells per event, and hold more memory.', 1, 5_000_000),
  ledgerIdsMax: whole('TIDEMARK_LEDGER_IDS', 8_000_000, 'ids', 'The de-duplication window of a worker: 34 bytes an id, about 270 MB when full.', 1_000, 100_000_000),
  fileOffsetsMax: whole('TIDEMARK_FILE_RECORDS', 250_000, 'records', 'A file of the lake spans at most so many offsets: some 20 MB.', 1, 10_000_000),
  nightlyAt: text('TIDEMARK_NIGHTLY_AT', '03:00', 'local time', 'The nightly batch, in the shop\'s zone, once the evening is over.', timeOfDay),
  reportGraceMinutes: whole('TIDEMARK_REPORT_GRACE_MINUTES', 60, 'minutes', 'A closed period\'s report waits so long for the log before it takes its end: an event is late after an hour.', 0, 43_200),
  archiveEverySeconds: whole('TIDEMARK_ARCHIVE_EVERY_SECONDS', 60, 'seconds', 'How often what is counted goes to the lake; a cron pattern holds whole divisions of a minute, an hour or a day.', 1, 86_400),
  keepBatches: whole('TIDEMARK_KEEP_BATCHES', 7, 'batches', 'Published batches that stay readable for rolling back: a week of nights.', 1, 1_000),
  orphanAfterMinutes: whole('TIDEMARK_ORPHAN_AFTER_MINUTES', 60, 'minutes', 'An unregistered file this old is moved aside: no archiver takes that long to register one.', 1, 100_000),
  orphanKeepDays: whole('TIDEMARK_ORPHAN_KEEP_DAYS', 35, 'days', 'Orphans are deleted after this: longer than the oldest backup, which may know them again.', 1, 3_650),
  queryMemoryMb: whole('TIDEMARK_QUERY_MEMORY_MB', 256, 'MB', 'DuckDB\'s memory; more spills to disk.', 64, 1_000_000),
  logLevel: text('LOG_LEVEL', 'info', 'level', 'Of the layers\' logs; `debug` tells of every flush.', z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])),
  databaseConnectionsMax: whole('TIDEMARK_DATABASE_CONNECTIONS', 8, 'connections', 'Per process.', 2, 1_000),
} as const

export type SettingName = keyof typeof declaredSettings
export type Settings = { readonly [Name in SettingName]: z.output<(typeof declaredSettings)[Name]['schema']> }

const secrets: readonly SettingName[] = ['databaseUrl', 'logUrl', 'queryUrl', 'jobsUrl', 'searchUrl', 'searchApiKey', 'smtpUrl', 'reportWebhookUrl', 'reportWebhookSecret']

/** Reads and checks all settings; throws one ConfigError that lists every fault. */
export function readSettings(environment: NodeJS.ProcessEnv = process.env, overrides: Partial<Record<SettingName, string>> = {}): Settings {
  const faults: string[] = []
  const settings: Record<string, string | number> = {}
  for (const [name, declared] of Object.entries(declaredSettings) as [SettingName, Declared][]) {
    const given = overrides[name] ?? environment[declared.env] ?? secretFile(environment, declared.env, secrets.includes(name)) ?? declared.default
    const parsed = declared.schema.safeParse(given)
    if (parsed.success) settings[name] = parsed.data
    else faults.push(`${declared.env}: ${parsed.error.issues.map((issue) => issue.message).join('; ')}`)
  }
  if (faults.length > 0) throw new ConfigError(`Settings need a change:\n  ${faults.join('\n  ')}`)
  settings['dataDirectory'] = resolve(String(settings['dataDirectory']))
  return settings as Settings
}

function secretFile(environment: NodeJS.ProcessEnv, env: string, isSecret: boolean): string | undefined {
  const file = isSecret ? environment[`${env}_FILE`] : undefined
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (thrown) {
    throw new ConfigError(`${env}_FILE names ${file}, which cannot be read.`, { file }, thrown)
  }
}

/** The README's table. */
export function settingsTable(): string {
  const rows = Object.values(declaredSettings).map(
    (declared) => `| \`${declared.env}\` | ${declared.default === '' ? '(empty)' : `\`${declared.default}\``} | ${declared.unit} | ${declared.reason} |`,
  )
  return ['| environment | default | unit | what for |', '| --- | --- | --- | --- |', ...rows].join('\n')
}
