import { readFile } from 'node:fs/promises'
import type { Browser, BrowserContextOptions, Page, Request } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildDashboard } from '../../serving/dashboard/build.ts'
import { waitUntil } from '../wait-until.ts'
import { findAccessibilityFaults, launchBrowser, noBrowser } from './browser.ts'
import { StandIn, type Sale } from './page-server.ts'
import { lastMonth, makeSale, openPageShop, today, type PageShop } from './page-shop.ts'

if (noBrowser !== null) process.stderr.write(`The page's browser tests are skipped: ${noBrowser}\n`)

let browser: Browser
beforeAll(async () => {
  if (noBrowser === null) browser = await launchBrowser()
})
afterAll(() => browser?.close())

type OpenPage = AsyncDisposable & { readonly page: Page; readonly faults: string[] }

/** Waits until figures are painted. `faults` collects what the page itself did wrong. */
async function openPage(url: string, options: BrowserContextOptions = {}, ready = '[data-testid=net]', prepare?: (page: Page) => Promise<void>): Promise<OpenPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const page = await context.newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy/.test(message.text())) faults.push(message.text())
  })
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin && !request.url().startsWith('blob:')) faults.push(`asked for ${request.url()}`)
  })
  await prepare?.(page)
  await page.goto(url)
  await page.waitForSelector(ready)
  return { page, faults, [Symbol.asyncDispose]: () => context.close() }
}

const netOf = (page: Page): Promise<string> => page.innerText('[data-testid=net]')
const whenLive = (page: Page): Promise<unknown> => page.waitForSelector('.pill-live')
/** Survives everything but a reload. */
const markPage = (page: Page): Promise<void> => page.evaluate('window.notReloaded = true')
const wasReloaded = async (page: Page): Promise<boolean> => (await page.evaluate('window.notReloaded')) !== true

describe.skipIf(noBrowser !== null)('the page in a browser', () => {
  let shop: PageShop
  beforeAll(async () => {
    shop = await openPageShop()
  })
  afterAll(() => shop?.[Symbol.asyncDispose]())

  test('shows the figures, each card and the receipt, from its own origin alone', async () => {
    await using open = await openPage(shop.url)
    const { page, faults } = open
    expect(await netOf(page)).toMatch(/^£\d{1,3}(,\d{3})*\.\d\d$/)
    await page.waitForSelector('.heat')
    await page.waitForSelector('.u-over')
    const headings = await page.locator('h1, h2').allInnerTexts()
    expect(headings).toEqual([
      'Tidemark',
      'Net revenue today',
      'Receipt',
      'Last three hours, by minute',
      'Revenue today by city',
      'Revenue today by category',
      'Top 5 today',
      'Top 5 this month',
      'Top 5 this season',
      'Revenue by month',
      'Peak hours',
      'Frozen reports',
      'Closed periods that moved',
    ])
    expect(await page.innerText('.receipt')).toMatch(/Batch layer[\s\S]*Speed layer[\s\S]*Last cross-check/)
    expect(await page.innerText('[data-testid=as-of]')).toMatch(/^as of \d\d:\d\d:\d\d \(\d+ (s|min) ago/)
    expect(faults).toEqual([])
  })

  test('follows a sale without a reload', async () => {
    await using open = await openPage(shop.url)
    const { page } = open
    await whenLive(page)
    await markPage(page)
    const before = await netOf(page)
    await shop.sell('Inverness', 123_456)
    await page.getByText('Inverness', { exact: true }).waitFor()
    expect(await netOf(page)).not.toBe(before)
    expect(await page.innerText('section[aria-labelledby=cities-title]')).toContain('£1,234.56')
    expect(await wasReloaded(page)).toBe(false)
  })

  test('says so when the server is gone, greys the figures, and goes on when it is back', async () => {
    await using open = await openPage(shop.url)
    const { page } = open
    await whenLive(page)
    await markPage(page)
    const before = await netOf(page)
    await shop.stopServer()
    await page.waitForSelector('[data-testid=lost]')
    expect(await page.innerText('[data-testid=live]')).toContain('Reconnecting')
    expect(await page.innerText('[data-testid=lost]')).toMatch(/Not live since \d\d:\d\d:\d\d/)
    expect(await page.getAttribute('main', 'data-live')).toBe('false')
    expect(await page.innerText('.total .stale-note')).toMatch(/^Not live since/)
    expect(await netOf(page), 'the last figure stays readable').toBe(before)
    expect(await findAccessibilityFaults(page)).toEqual([])

    await shop.startServer()
    await whenLive(page)
    await shop.sell('Penzance', 55_500)
    await page.getByText('Penzance', { exact: true }).waitFor()
    expect(await page.locator('.stale-note').count()).toBe(0)
    expect(await wasReloaded(page)).toBe(false)
  })

  test('a page opened while the server is gone never paints a figure', async () => {
    await using open = await openPage(shop.url)
    const { page } = open
    await page.route('**/v1/**', (route) => route.abort())
    await page.reload()
    await page.waitForSelector('[data-testid=unreachable]')
    expect(await page.locator('[data-testid=net]').count()).toBe(0)
    await page.unroute('**/v1/**')
    await page.getByRole('button', { name: 'Try now' }).click()
    await page.waitForSelector('[data-testid=net]')
  })

  test('pause holds the figures and says so, resume catches up', async () => {
    await using open = await openPage(shop.url)
    const { page } = open
    await whenLive(page)
    await page.getByRole('button', { name: 'Pause live updates' }).click()
    await page.waitForSelector('[data-testid=paused]')
    const before = await netOf(page)
    await shop.sell('Truro', 77_700)
    expect(await page.getAttribute('main', 'data-live')).toBe('false')
    expect(await netOf(page)).toBe(before)
    await page.getByRole('banner').getByRole('button', { name: 'Resume live updates' }).click()
    await page.getByText('Truro', { exact: true }).waitFor()
  })

  test('lists the reports with how each moved, names what restated them, and opens each as a page that runs nothing', async () => {
    await using open = await openPage(shop.url)
    const { page, faults } = open
    await page.waitForSelector('.periods-moved')
    const reports = page.locator('section[aria-labelledby=reports-title]')
    const link = reports.locator('.periods a').first()
    expect(await reports.locator('.restated').innerText()).toBe('restated')
    expect(await link.getAttribute('href')).toBe(`/v1/reports/monthly/${lastMonth}/files/html?version=2`)
    expect(await page.innerText('section[aria-labelledby=moved-title]')).toMatch(/version 2[\s\S]*became[\s\S]*: 1 late sale \+£123\.45\./)
    await link.click()
    await page.waitForURL(/files\/html/)
    expect(await page.locator('script').count()).toBe(0)
    expect((await page.locator('body').innerText()).length).toBeGreaterThan(0)
    expect(faults).toEqual([])
    await page.goBack()
    await page.waitForSelector('.periods-moved')
  })

  test('everything can be done with the keyboard, and updates do not take the focus', async () => {
    await using open = await openPage(shop.url)
    const { page } = open
    await whenLive(page)
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.textContent')).toContain('Skip to the figures')
    await page.keyboard.press('Enter')
    expect(await page.evaluate('document.activeElement.id')).toBe('figures')

    const reached = await tabTo(page, 'Table: Revenue today by city')
    expect(reached.outlineWidthPx).toBeGreaterThanOrEqual(2)
    await page.keyboard.press('Space')
    await page.waitForSelector('section[aria-labelledby=cities-title] table')
    const rows = await page.locator('section[aria-labelledby=cities-title] tbody tr').count()
    await shop.sell('Whitby', 100)
    await waitUntil('one more row', async () => (await page.locator('section[aria-labelledby=cities-title] tbody tr').count()) === rows + 1)
    expect(await page.evaluate('document.activeElement.getAttribute("aria-label")')).toBe('Table: Revenue today by city')
    expect(page.url()).toContain('cities=table')
    await page.reload()
    await page.waitForSelector('section[aria-labelledby=cities-title] table')
    await page.focus('summary')
    await page.keyboard.press('Enter')
    expect(await page.innerText('details pre')).toContain('"incarnation"')
  })

  test('every chart has a name, a takeaway and a table', async () => {
    await using open = await openPage(shop.url)
    const { page } = open
    await page.waitForSelector('.heat')
    const toggles = page.getByRole('button', { name: /^Table:/ })
    const figures = page.locator('figure')
    await page.waitForSelector('.periods-moved')
    expect(await figures.count()).toBe(10)
    const count = 10
    expect(await toggles.count()).toBe(count)
    for (const figure of await figures.all()) {
      for (const attribute of ['aria-labelledby', 'aria-describedby']) {
        const id = await figure.getAttribute(attribute)
        expect((await page.innerText(`#${id}`)).length, `${attribute} ${id}`).toBeGreaterThan(8)
      }
    }
    for (const toggle of await toggles.all()) await toggle.click()
    expect(await page.locator('table').count()).toBe(count)
    expect(await page.locator('figure').count()).toBe(0)
    expect(await findAccessibilityFaults(page)).toEqual([])
  })

  test.each(['light', 'dark'] as const)('axe finds nothing serious in %s', async (colorScheme) => {
    await using open = await openPage(shop.url, { colorScheme })
    const { page } = open
    await page.waitForSelector('.heat')
    expect(await findAccessibilityFaults(page)).toEqual([])
    await page.getByRole('button', { name: colorScheme === 'dark' ? 'Light' : 'Dark' }).click()
    await waitUntil('the other colours', async () => (await page.evaluate('getComputedStyle(document.documentElement).colorScheme')) !== 'light dark')
    expect(await findAccessibilityFaults(page)).toEqual([])
  })

  test.each(['', '?cities=table&minutes=table&pace=table&top-day=table'])('320 px wide, nothing scrolls sideways: /%s', async (search) => {
    await using open = await openPage(`${shop.url}${search}`, { viewport: { width: 320, height: 640 } })
    const { page } = open
    await page.waitForSelector('#pace-takeaway')
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(320)
    expect(await findAccessibilityFaults(page)).toEqual([])
  })
})

/** Throws after so many stops: the element cannot be reached with Tab. */
const tabStopsMax = 60

async function tabTo(page: Page, label: string): Promise<{ outlineWidthPx: number }> {
  for (let stop = 0; stop < tabStopsMax; stop++) {
    await page.keyboard.press('Tab')
    if ((await page.evaluate('document.activeElement.getAttribute("aria-label")')) === label) {
      return { outlineWidthPx: Number.parseFloat(String(await page.evaluate('getComputedStyle(document.activeElement).outlineWidth'))) }
    }
  }
  throw new Error(`Tab does not reach "${label}" in ${tabStopsMax} stops.`)
}

/** On the page's installed clock. Requests take real time, so after each second the page's clock stands until they are answered. */
async function passSeconds(page: Page, seconds: number): Promise<void> {
  const asked = new Set<Request>()
  const ask = (request: Request): unknown => request.resourceType() !== 'eventsource' && asked.add(request)
  const answered = (request: Request): unknown => asked.delete(request)
  page.on('request', ask).on('requestfinished', answered).on('requestfailed', answered)
  for (let second = 0; second < seconds; second++) {
    await page.clock.runFor(1_000)
    await waitUntil('answers to all requests', () => asked.size === 0)
  }
  page.off('request', ask).off('requestfinished', answered).off('requestfailed', answered)
}

describe.skipIf(noBrowser !== null)('what a shop shows seldom', () => {
  async function openStandIn(...sales: Sale[]): Promise<StandIn> {
    const server = new StandIn((await buildDashboard()).dir, today, sales)
    await server.start()
    return server
  }

  test('an empty shop names the command that fills it, and fills by itself', async () => {
    await using server = await openStandIn()
    await using open = await openPage(server.url, {}, '#empty-title')
    const { page } = open
    expect(await page.innerText('main')).toContain('./tidemark ingest FILE')
    expect(await findAccessibilityFaults(page)).toEqual([])
    await whenLive(page)
    server.sell(makeSale('London', 300_000))
    await page.waitForSelector('[data-testid=net]')
    expect(await netOf(page)).toBe('£3,000.00')
  })

  test('currencies are never added: each is shown alone, and the address keeps the choice', async () => {
    await using server = await openStandIn(makeSale('London', 10_000), makeSale('Paris', 25_000, { currency: 'EUR' }))
    await using open = await openPage(server.url)
    const { page } = open
    expect(await netOf(page)).toBe('£100.00')
    await page.getByLabel('Currency').selectOption('EUR')
    expect(await netOf(page)).toBe('€250.00')
    const cities = await page.innerText('section[aria-labelledby=cities-title]')
    expect(cities).toContain('Paris')
    expect(cities).not.toContain('London')
    await page.reload()
    await page.waitForSelector('[data-testid=net]')
    expect(await netOf(page)).toBe('€250.00')
  })

  test('a range that is missing is named, and the receipt is no longer complete', async () => {
    await using server = await openStandIn(makeSale('London', 10_000))
    server.faults.missing.push({ topic: 'transactions', partition: 3, from: 500, to: 620, reason: 'gone before it was archived' })
    await using open = await openPage(server.url)
    const { page } = open
    expect(await page.innerText('[data-testid=incomplete]')).toContain('transactions partition 3, records 500 to 620: gone before it was archived')
    expect(await page.innerText('.receipt')).toContain('Incomplete')
  })

  test('a card whose part fails says why, and the others stand', async () => {
    await using server = await openStandIn(makeSale('London', 10_000))
    server.faults.failing.push('/v1/pace')
    await using open = await openPage(server.url)
    const { page } = open
    const pace = page.locator('section[aria-labelledby=pace-title]')
    await pace.getByText('The database does not answer.').waitFor()
    await whenLive(page)
    server.sell(makeSale('London', 10_000))
    await waitUntil('the other seven charts', async () => (await page.locator('figure').count()) === 7)
    expect(await netOf(page)).toBe('£200.00')
  })

  test('polls where the stream is blocked', async () => {
    await using server = await openStandIn(makeSale('London', 10_000))
    server.faults.streamBlocked = true
    await using open = await openPage(server.url)
    const { page } = open
    await page.getByText('every 5 s').waitFor()
    server.sell(makeSale('London', 10_000))
    await waitUntil('the polled figure', async () => (await netOf(page)) === '£200.00')
  })

  test('a stream that opens and stays silent does not pass for live for long', async () => {
    await using server = await openStandIn(makeSale('London', 10_000))
    server.faults.streamSilent = true
    await using open = await openPage(server.url)
    const { page } = open
    await whenLive(page)
    server.sell(makeSale('London', 10_000))
    await waitUntil('the figure, by polling', async () => (await netOf(page)) === '£200.00', 40_000)
  })

  test('the CSV holds plain decimals, every row, and no formula', async () => {
    await using server = await openStandIn(makeSale('London', 123_456_789), makeSale('=HYPERLINK("https://x.test","London")', 5), makeSale('حيفا', 700))
    await using open = await openPage(server.url)
    const { page } = open
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'CSV: Revenue today by city' }).click()])
    expect(download.suggestedFilename()).toBe(`tidemark-cities-${today}.csv`)
    const text = await readFile(await download.path(), 'utf8')
    expect(text.split('\r\n').slice(0, 4)).toEqual([
      '\uFEFFCity,Net,Gross,Refunds,Currency,Transactions,Orders,Refund events,Units sold,Units refunded',
      'London,1234567.89,1234567.89,0.00,GBP,1,1,0,1,0',
      'حيفا,7.00,7.00,0.00,GBP,1,1,0,1,0',
      `"'=HYPERLINK(""https://x.test"",""London"")",0.05,0.05,0.00,GBP,1,1,0,1,0`,
    ])
    expect(await page.locator('bdi', { hasText: 'حيفا' }).count()).toBeGreaterThan(0)
  })

  test('screen readers hear one message in thirty seconds, not every tick', async () => {
    await using server = await openStandIn(makeSale('London', 10_000))
    await using open = await openPage(server.url, {}, '[data-testid=net]', (page) => page.clock.install())
    const { page } = open
    await whenLive(page)
    // Else the page's clock goes on with ours too, and a slow machine passes the thirty seconds.
    await page.clock.pauseAt(Number(await page.evaluate('Date.now()')) + 5_000)
    const announcer = page.locator('[data-testid=announcer]')
    await page.clock.runFor(1_000)
    expect(await announcer.innerText()).toContain('£100.00')
    const sellTo = async (net: string): Promise<void> => {
      server.sell(makeSale('London', 10_000))
      await waitUntil('the new figure', async () => (await netOf(page)) === net)
    }
    await sellTo('£200.00')
    for (let second = 0; !(await announcer.innerText()).includes('£200.00'); second++) {
      expect(second).toBeLessThan(31)
      await passSeconds(page, 1)
    }
    await sellTo('£300.00')
    await passSeconds(page, 25)
    expect(await announcer.innerText()).toContain('£200.00')
    await passSeconds(page, 6)
    expect(await announcer.innerText()).toContain('£300.00')
    expect(await page.locator('[aria-live]').count()).toBe(1)
  })
})
