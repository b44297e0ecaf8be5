/** Deliveries of reports: a real mail server and a real receiver of webhooks on this machine, which misbehave. */
import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import PostalMime from 'postal-mime'
import type { DeliveryOptions } from '#batch/deliver.ts'
import { attemptsMax, composeReportMail, deliverReports, isDeliveryDue, sendReport, targetsOf } from '#batch/deliver.ts'
import { writeReportFiles } from '#batch/report-files.ts'
import { renderReportJson } from '#batch/report-json.ts'
import { parseDay } from '#core/calendar.ts'
import { ConfigError } from '#core/errors.ts'
import { decimalText, moneyText } from '#core/report/words.ts'
import type { Report } from '#core/report/report.ts'
import { composeMail } from '#engines/mail-message.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openSmtpMail, parseSmtpUrl } from '#engines/smtp-mail.ts'
import { openWebhook } from '#engines/webhook.ts'
import { listDeliveries } from '#store/deliveries.ts'
import { publishReport, readReportFiles } from '#store/reports.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { MailServer } from '#test/lab/mail-server.ts'
import { mailPassword, openMailServer } from '#test/lab/mail-server.ts'
import { reportFixture } from '#test/lab/report.ts'
import type { WebhookServer } from '#test/lab/webhook-server.ts'
import { openWebhookServer, webhookSecretPath } from '#test/lab/webhook-server.ts'
import { waitUntil } from '#test/wait-until.ts'

let lab: Lab
let mailServer: MailServer
let hook: WebhookServer

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => {
  await lab.clear()
  await lab.database.pool.query('TRUNCATE report_deliveries, report_files, report_versions, restatement_events')
  mailServer = await openMailServer()
  hook = await openWebhookServer()
  return async () => {
    await mailServer[Symbol.asyncDispose]()
    await hook[Symbol.asyncDispose]()
  }
})

const books = 'books@shop.example'
const signal = new AbortController().signal
const dayMs = 86_400_000
const webhookSecret = 'signgeheim'

function options(extra: Partial<DeliveryOptions> = {}): DeliveryOptions {
  return {
    database: lab.database,
    lake: lab.lake,
    mail: { port: openSmtpMail({ url: mailServer.url(), silenceMsMax: 400, mailMsMax: 2_000 }), from: 'Shop books <robot@shop.example>', to: [books] },
    webhook: null,
    publicUrl: 'https://lake.shop.example/',
    retryDelayMs: () => 0,
    ...extra,
  }
}

function hookOptions(extra: Partial<DeliveryOptions> = {}): DeliveryOptions {
  return options({ mail: null, webhook: openWebhook({ url: hook.url, secret: webhookSecret, timeoutMs: 400 }), ...extra })
}

const march = { kind: 'monthly', period: '2025-03' } as const

/** Publishes a report as if so many days had passed since its period's end, `agoDays` before now. */
async function publish(fixture: Partial<Report> & { readonly restatedEvents?: number } = {}, agoDays = 0, daysAfter = 1): Promise<Report> {
  const publishedMs = Date.now() - agoDays * dayMs
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
  const { restatedEvents = 0, ...fields } = fixture
  const report: Report = {
    ...reportFixture({ cities: ['London', 'Leeds'], restatedEvents }),
    publishedAt: new Date(publishedMs).toISOString(),
    from: day(publishedMs - (daysAfter + 31) * dayMs),
    to: day(publishedMs - daysAfter * dayMs),
    ...fields,
  }
  const document = renderReportJson(report)
  const files = await writeReportFiles(lab.lake, parquetCodec, report, document, [])
  const basis = { days: { fromDay: parseDay(report.from)!, toDay: parseDay(report.to)! }, batch: 1, epoch: 1, seasonsVersion: 1, fingerprint: `${Math.random()}`, rowVersions: '' }
  await publishReport(lab.database, { report, document, files, basis }, [])
  return report
}

async function statuses(): Promise<string[]> {
  return (await listDeliveries(lab.database.pool)).map((one) => `${one.period} v${one.version} ${one.target} ${one.status}`).sort()
}

test('the mail of a new report holds its figures and the frozen files, and what was restated', async () => {
  await publish()
  await deliverReports(options(), signal)
  const report = await publish({ version: 2, restatedEvents: 12 })
  const outcomes = await deliverReports(options(), signal)
  expect(outcomes).toMatchObject([{ version: 2, target: books, outcome: 'sent', error: null }])
  const mail = (await mailServer.mails())[1]!
  const total = report.lines.find(({ section }) => section === 'total')!
  expect(mail.from).toEqual({ address: 'robot@shop.example', name: 'Shop books' })
  expect(mail.to).toEqual([{ address: books, name: '' }])
  expect(mail.messageId).toBe(`<monthly.2025-03.v2.${report.receipt.incarnation}@shop.example>`)
  expect(mail.inReplyTo).toBe(`<monthly.2025-03.v1.${report.receipt.incarnation}@shop.example>`)
  expect(mail.subject).toMatch(/^March 2025, restated \(version 2\): net £/)
  const { asPublished, asKnownNow } = report.restatement!.lines[0]!
  for (const minor of [total.now.netMinor, total.now.grossMinor, total.now.refundsMinor, asPublished.netMinor, asKnownNow.netMinor, ...report.restatement!.causes.map(({ difference }) => difference.netMinor)]) {
    expect(mail.text).toContain(moneyText(minor, 'GBP'))
    expect(mail.html).toContain(moneyText(minor, 'GBP'))
  }
  expect(mail.text).toContain('https://lake.shop.example/v1/reports/monthly/2025-03/files/html?version=2')
  expect(mail.html).not.toMatch(/<script|<img/)
  const files = await readReportFiles(lab.database.pool, report)
  expect(mail.attachments.map(({ filename }) => filename)).toEqual(['monthly-2025-03-v2.html', 'monthly-2025-03-v2.csv', 'monthly-2025-03-v2.restatement.csv'])
  for (const [at, format] of (['html', 'csv', 'restatement'] as const).entries()) {
    const stored = await lab.lake.get(files.find((file) => file.format === format)!.path)
    expect(Buffer.from(mail.attachments[at]!.content as ArrayBuffer).equals(Buffer.from(await stored.read(0, stored.bytes)))).toBe(true)
  }
})

test('the mail that a dry run writes is, byte for byte, the mail that is sent', async () => {
  const report = await publish()
  const eml = Buffer.from(await composeMail(await composeReportMail(options(), report, 'Shop books <robot@shop.example>', books)))
  await deliverReports(options(), signal)
  expect(mailServer.taken[0]!.raw.trimEnd()).toBe(eml.toString('utf8').trimEnd())
  const opened = await PostalMime.parse(eml)
  expect(opened.text).toContain(moneyText(report.lines.find(({ section }) => section === 'total')!.now.netMinor, 'GBP'))
})

test('each version goes once to each target, however many workers ask at once', async () => {
  await publish()
  await publish({ version: 2, restatedEvents: 3 })
  await publish({ period: '2025-02' })
  const both = options({ mail: { ...options().mail!, to: [books, 'second@shop.example'] }, webhook: openWebhook({ url: hook.url }) })
  await Promise.all([1, 2, 3].map(() => deliverReports(both, signal)))
  await deliverReports(both, signal)
  expect(mailServer.taken).toHaveLength(6)
  expect(new Set((await mailServer.mails()).map(({ messageId, to }) => `${messageId} ${to?.[0]?.address}`)).size).toBe(6)
  expect(hook.posts).toHaveLength(3)
  expect((await statuses()).every((line) => line.endsWith(' sent'))).toBe(true)
})

test('a worker that died between sending and its mark has the mail sent again, and the receiver knows it', async () => {
  await publish()
  const dying = options({ leaseMs: 60, before: async (step) => (step === 'mark' ? Promise.reject(new Error('killed')) : undefined) })
  await expect(deliverReports(dying, signal)).rejects.toThrow('killed')
  await waitUntil('the claim to run out', () => isDeliveryDue(options()))
  expect(await deliverReports(options(), signal)).toMatchObject([{ outcome: 'sent' }])
  const [first, second] = mailServer.taken
  expect(mailServer.taken).toHaveLength(2)
  expect(second!.raw).toBe(first!.raw)
  expect(await deliverReports(options(), signal)).toEqual([])
})

test('a claim holds while it lasts', async () => {
  await publish()
  await expect(deliverReports(options({ before: async () => Promise.reject(new Error('killed')) }), signal)).resolves.toMatchObject([{ outcome: 'waiting' }, { outcome: 'waiting' }, { outcome: 'waiting' }])
  await expect(deliverReports(options({ before: async (step) => (step === 'mark' ? Promise.reject(new Error('killed')) : undefined) }), signal)).rejects.toThrow('killed')
  expect(await deliverReports(options(), signal)).toEqual([])
  expect(mailServer.taken).toHaveLength(1)
  await expect(sendReport(options(), { ...march, version: 1, channel: 'mail', target: books }, true, signal)).rejects.toThrow(/being sent/)
})

test('only news goes out by itself: no backfill, nothing from before mail was set up, but the restatement of what somebody got', async () => {
  await publish({ period: '2024-01' }, 0, 41)
  await publish({ period: '2024-02' }, 0, 39)
  await publish({ period: '2024-03' }, 8, 1)
  await publish({ period: '2024-04' }, 6, 1)
  await deliverReports(options(), signal)
  expect(await statuses()).toEqual([`2024-02 v1 ${books} sent`, `2024-04 v1 ${books} sent`])
  await publish({ period: '2024-01', version: 2, restatedEvents: 3 }, 0, 100)
  await publish({ period: '2024-02', version: 2, restatedEvents: 3 }, 0, 100)
  const other = options({ mail: { ...options().mail!, to: [books, 'new@shop.example'] } })
  await deliverReports(other, signal)
  // The new address got the first version just now, and so it gets what restates it.
  await deliverReports(other, signal)
  expect(await statuses()).toEqual([`2024-02 v1 ${books} sent`, '2024-02 v1 new@shop.example sent', `2024-02 v2 ${books} sent`, '2024-02 v2 new@shop.example sent', `2024-04 v1 ${books} sent`, '2024-04 v1 new@shop.example sent'])
})

test('a person may send any version, once or again', async () => {
  await publish({ period: '2024-01' }, 300, 100)
  const of = { kind: 'monthly', period: '2024-01', version: 1, channel: 'mail', target: 'a@shop.example' } as const
  expect(await sendReport(options(), of, false, signal)).toMatchObject({ outcome: 'sent' })
  await expect(sendReport(options(), of, false, signal)).rejects.toThrow(/--again/)
  expect(await sendReport(options(), of, true, signal)).toMatchObject({ outcome: 'sent' })
  expect(mailServer.taken.map(({ to }) => to)).toEqual(['a@shop.example', 'a@shop.example'])
})

test('a mail server that is down, says later, hangs or cuts the connection gets the mail when it is back, under the same id', async () => {
  const report = await publish()
  const { port } = mailServer
  const down = options()
  await mailServer[Symbol.asyncDispose]()
  const once = { retryDelayMs: () => 60_000 }
  expect(await deliverReports({ ...down, ...once }, signal)).toMatchObject([{ outcome: 'waiting', error: expect.stringMatching(/127\.0\.0\.1:\d+ did not take the mail.*ECONNREFUSED/) }])
  mailServer = await openMailServer({ port })
  // Its time has not come: nothing is tried in the meantime.
  expect(await deliverReports(down, signal)).toEqual([])
  await lab.database.pool.query(`UPDATE report_deliveries SET next_attempt_at = clock_timestamp()`)
  mailServer.faults.push('later', 'hang', 'cut after data')
  const tried = await deliverReports(down, signal)
  expect(tried.map(({ outcome, error }) => [outcome, error])).toEqual([
    ['waiting', expect.stringContaining('451 come back later')],
    ['waiting', expect.stringMatching(/Timeout/)],
    ['waiting', expect.stringMatching(/closed|ended/i)],
  ])
  expect(await deliverReports(down, signal)).toMatchObject([{ outcome: 'sent' }])
  expect((await mailServer.mails()).map(({ messageId }) => messageId)).toEqual([1, 2].map(() => `<monthly.2025-03.v1.${report.receipt.incarnation}@shop.example>`))
  expect(await listDeliveries(lab.database.pool)).toMatchObject([{ status: 'sent', attempts: 5, lastError: null }])
})

test('an address that is refused waits for a person and holds up nobody else; after too many attempts the others do too', async () => {
  await publish()
  mailServer.faults.push('refuse recipient')
  const two = options({ mail: { ...options().mail!, to: ['a@shop.example', 'b@shop.example'] } })
  expect(await deliverReports(two, signal)).toMatchObject([
    { target: 'a@shop.example', outcome: 'failed', error: expect.stringContaining('550') },
    { target: 'b@shop.example', outcome: 'sent' },
  ])
  expect(await deliverReports(two, signal)).toEqual([])
  await publish({ period: '2025-02' })
  await lab.database.pool.query('DELETE FROM report_deliveries')
  mailServer.faults.push(...Array.from({ length: attemptsMax }, () => 'later' as const))
  const one = options({ mail: { ...options().mail!, to: ['c@shop.example'] } })
  await lab.database.pool.query(`DELETE FROM report_files WHERE period = '2025-03'`)
  await lab.database.pool.query(`DELETE FROM report_versions WHERE period = '2025-03'`)
  for (let asked = 0; asked < 10; asked++) await deliverReports(one, signal)
  expect(await listDeliveries(lab.database.pool)).toMatchObject([{ status: 'failed', attempts: attemptsMax, lastError: expect.stringContaining('451') }])
  expect(await sendReport(one, { kind: 'monthly', period: '2025-02', version: 1, channel: 'mail', target: 'c@shop.example' }, false, signal)).toMatchObject({ outcome: 'sent' })
})

test('a webhook gets text for people and facts for programs, signed, under a key that a repeat has too', async () => {
  const report = await publish({ version: 1 })
  hook.faults.push(503, 'cut', 'hang')
  const waiting = await deliverReports(hookOptions(), signal)
  expect(waiting.map(({ outcome, error }) => [outcome, error])).toEqual([
    ['waiting', expect.stringContaining('answered 503')],
    ['waiting', expect.stringMatching(/did not take the post/)],
    ['waiting', expect.stringContaining('no answer in time')],
  ])
  expect(await deliverReports(hookOptions(), signal)).toMatchObject([{ outcome: 'sent' }])
  const post = hook.posts.at(-1)!
  expect(post.headers).toMatchObject({
    'content-type': 'application/json',
    'idempotency-key': `monthly.2025-03.v1.${report.receipt.incarnation}`,
    'x-tidemark-signature': `sha256=${createHmac('sha256', webhookSecret).update(post.body).digest('hex')}`,
  })
  expect(new Set(hook.posts.map(({ body, headers }) => body + String(headers['idempotency-key']))).size).toBe(1)
  const body = JSON.parse(post.body) as { text: string; blocks: unknown[]; report: { totals: Record<string, unknown>[] }; links: Record<string, string> }
  const total = report.lines.find(({ section }) => section === 'total')!
  expect(body.text).toContain(`March 2025: net ${moneyText(total.now.netMinor, 'GBP')}`)
  expect(body.blocks.length).toBeGreaterThan(2)
  expect(body.report).toMatchObject({ kind: 'monthly', period: '2025-03', version: 1, batch: report.receipt.batch, restates: null })
  expect(body.report.totals[0]).toMatchObject({ currency: 'GBP', net: decimalText(total.now.netMinor, 'GBP'), netMinor: total.now.netMinor })
  expect(body.links['report']).toBe('https://lake.shop.example/v1/reports/monthly/2025-03?version=1')
})

test('a webhook that sends the post elsewhere is followed on its own host only', async () => {
  await publish()
  await using elsewhere = await openWebhookServer()
  hook.faults.push({ redirect: '/moved' })
  expect(await deliverReports(hookOptions(), signal)).toMatchObject([{ outcome: 'sent' }])
  expect(hook.posts.map(({ path }) => path)).toEqual([webhookSecretPath, '/moved'])
  expect(hook.posts[1]!.body).toBe(hook.posts[0]!.body)
  await publish({ period: '2025-02' })
  hook.faults.push({ redirect: `${elsewhere.origin}/take` })
  expect(await deliverReports(hookOptions(), signal)).toMatchObject([{ outcome: 'failed', error: expect.stringContaining('another host') }])
  expect(elsewhere.posts).toEqual([])
  await publish({ period: '2025-01' })
  hook.faults.push(...Array.from({ length: 8 }, () => ({ redirect: '/on' })))
  expect(await deliverReports(hookOptions(), signal)).toMatchObject([{ outcome: 'failed', error: expect.stringContaining('one place to the next') }])
  hook.faults.length = 0
  await publish({ period: '2024-12' })
  hook.faults.push(410)
  expect(await deliverReports(hookOptions(), signal)).toMatchObject([{ outcome: 'failed', error: expect.stringContaining('410') }])
})

test('neither the list of deliveries nor any error tells a password or the address of a webhook', async () => {
  await publish()
  const heard: unknown[] = []
  const listening = { onOutcome: (outcome: unknown) => heard.push(outcome) }
  mailServer.faults.push('refuse login', 'refuse recipient')
  const both = options({ ...listening, webhook: openWebhook({ url: hook.url, secret: webhookSecret, timeoutMs: 400 }) })
  hook.faults.push(500, 'cut', 'hang', { redirect: '/x' }, 403)
  for (let asked = 0; asked < 4; asked++) heard.push(await deliverReports(both, signal))
  expect(heard).toContainEqual(expect.objectContaining({ error: expect.stringContaining('refuses the login') as string }))
  heard.push(targetsOf(both), await lab.database.pool.query('SELECT * FROM report_deliveries').then(({ rows }) => rows as unknown[]))
  for (const url of [`smtp://u:${mailPassword}@:x`, `smtp://${mailPassword}@h`, `smtp://u:%E0%A4%A@h`, `smtp://u:${encodeURIComponent(mailPassword)}@h?tls=maybe`]) {
    try {
      heard.push(parseSmtpUrl(url))
    } catch (thrown) {
      heard.push(thrown)
      expect(thrown).toBeInstanceOf(ConfigError)
    }
  }
  for (const url of [`ftp://h${webhookSecretPath}`, `https://u:${encodeURIComponent(mailPassword)}@h/`]) expect(() => openWebhook({ url })).toThrow(ConfigError)
  const told = inspect(heard, { depth: 12, maxArrayLength: null, maxStringLength: null })
  for (const secret of [mailPassword, encodeURIComponent(mailPassword), Buffer.from(mailPassword).toString('base64'), 'geheim', webhookSecretPath]) expect(told).not.toContain(secret)
})

test('no password goes to another machine without TLS, and a certificate that nobody vouches for is said', async () => {
  expect(parseSmtpUrl('smtp://u:p@mail.shop.example')).toMatchObject({ port: 587, isTls: false, tls: 'required' })
  expect(parseSmtpUrl('smtp://u:p@mail.shop.example?tls=off')).toMatchObject({ tls: 'off' })
  expect(parseSmtpUrl('smtp://relay:25')).toMatchObject({ port: 25, tls: 'optional', user: '' })
  expect(parseSmtpUrl('smtps://u:p@mail.shop.example')).toMatchObject({ port: 465, isTls: true })
  await publish()
  await using offering = await openMailServer({ offersTls: true })
  const through = (query: string): DeliveryOptions => options({ mail: { port: openSmtpMail({ url: offering.url(query), silenceMsMax: 1_000 }), from: 'robot@shop.example', to: [books] }, retryDelayMs: () => 60_000 })
  expect(await deliverReports(through(''), signal)).toMatchObject([{ outcome: 'waiting', error: expect.stringContaining('?tls=') }])
  await lab.database.pool.query(`UPDATE report_deliveries SET next_attempt_at = clock_timestamp()`)
  const required = options({ mail: { port: openSmtpMail({ url: mailServer.url('?tls=required') }), from: 'robot@shop.example', to: [books] }, retryDelayMs: () => 0 })
  expect((await deliverReports(required, signal))[0]).toMatchObject({ outcome: 'waiting' })
  expect(mailServer.taken).toEqual([])
  expect(await deliverReports(through('?tls=off'), signal)).toMatchObject([{ outcome: 'sent' }])
})

test('who stops while a mail hangs stops at once, and the mail is sent next time', async () => {
  await publish()
  mailServer.faults.push('hang')
  const stopping = new AbortController()
  const slow = options({ mail: { port: openSmtpMail({ url: mailServer.url() }), from: 'robot@shop.example', to: [books] }, before: async (step) => void (step === 'send' && setImmediate(() => stopping.abort())) })
  expect(await deliverReports(slow, stopping.signal)).toMatchObject([{ outcome: 'waiting', error: expect.stringContaining('stopped') }])
  mailServer.faults.length = 0
  expect(await deliverReports(options(), signal)).toMatchObject([{ outcome: 'sent' }])
})

test('a file in the lake that is not what was published is not sent', async () => {
  const report = await publish()
  await lab.database.pool.query(`UPDATE report_files SET sha256 = repeat('0', 64) WHERE format = 'html'`)
  expect(await deliverReports(options(), signal)).toMatchObject([{ outcome: 'failed', error: expect.stringContaining('other bytes than were published') }])
  expect(mailServer.taken).toEqual([])
  expect(report.version).toBe(1)
})

test('on the command line a dry run writes the mail and needs no mail server, a send is said and listed, and wrong use tells what to do', async () => {
  const report = await publish()
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-mail-'))
  const environment = { ...process.env, DATABASE_URL: lab.url, TIDEMARK_SCHEMA: lab.database.schema, LAKE_URL: pathToFileURL(lab.lakeRoot).href, TIDEMARK_DATA: folder, SMTP_URL: '', REPORT_MAIL_FROM: 'robot@shop.example' }
  const tidemark = async (args: readonly string[], extra: NodeJS.ProcessEnv = {}): Promise<{ code: unknown; out: string; err: string }> => {
    const child = spawn(process.execPath, ['cli/main.ts', 'report', ...args], { env: { ...environment, ...extra }, stdio: ['ignore', 'pipe', 'pipe'] })
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code, out, err }
  }
  try {
    const dry = await tidemark(['send', 'monthly', '2025-03', '--dry-run', '--out', folder])
    expect(dry).toMatchObject({ code: 0, out: expect.stringContaining(join(folder, 'monthly-2025-03-v1.eml')) as string })
    const mail = await PostalMime.parse(await readFile(join(folder, 'monthly-2025-03-v1.eml')))
    expect(mail.text).toContain(moneyText(report.lines.find(({ section }) => section === 'total')!.now.netMinor, 'GBP'))
    expect(await tidemark(['send', 'monthly', '2025-03', '--to', books])).toMatchObject({ code: 2, err: expect.stringContaining('SMTP_URL') as string })
    const sent = await tidemark(['send', 'monthly', '2025-03', '--to', books, '--json'], { SMTP_URL: mailServer.url() })
    expect(sent).toMatchObject({ code: 0, err: '' })
    expect(JSON.parse(sent.out)).toMatchObject({ outcomes: [{ target: books, outcome: 'sent' }] })
    expect(mailServer.taken).toHaveLength(1)
    const listed = await tidemark(['deliveries', '--json'])
    expect(JSON.parse(listed.out)).toMatchObject({ deliveries: [{ kind: 'monthly', period: '2025-03', version: 1, channel: 'mail', target: books, status: 'sent', attempts: 1 }] })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
