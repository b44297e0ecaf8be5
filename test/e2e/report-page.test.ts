/** The page of a report in Chromium: on a screen, on a telephone, in the dark, and on paper. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { renderReportHtml } from '#batch/report-html.ts'
import type { Report } from '#core/report/report.ts'
import { reportFixture } from '#test/lab/report.ts'
import { findAccessibilityFaults, launchBrowser, noBrowser } from './browser.ts'

let browser: Browser
let folder: string

type View = { readonly width?: number; readonly colorScheme?: 'light' | 'dark' }

/** Opens the report from a file, as out of a mail; collects what it asks for. */
async function open(report: Report, { width = 1000, colorScheme = 'light' }: View = {}): Promise<{ page: Page; asked: string[]; said: string[] }> {
  const file = join(folder, 'report.html')
  await writeFile(file, renderReportHtml(report))
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme })
  const page = await context.newPage()
  const asked: string[] = []
  const said: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  page.on('console', (message) => said.push(message.text()))
  page.on('pageerror', (error) => said.push(error.message))
  await page.goto(pathToFileURL(file).href)
  return { page, asked, said }
}

async function widthBeyondWindow(page: Page): Promise<number> {
  return (await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')) as number
}

/** A table cell more is a moment more for axe, and finds nothing more. */
const small = reportFixture({ cities: ['London', 'Leeds', 'York'], categories: ['Home', 'Toys', 'Garden'], products: ['Kettle', 'Chess set', 'Rose bush'], restatedEvents: 12 })
const odd = ['<script>alert(1)</script>', 'מעלה אדומים', `"quoted" & 'single'`, 'x'.repeat(250)]

describe.skipIf(noBrowser !== null)(noBrowser === null ? 'the page of a report' : `the page of a report (skipped: ${noBrowser})`, () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-report-'))
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser.close()
    await rm(folder, { recursive: true, force: true })
  })

  test.each([
    ['in the light', { colorScheme: 'light' }],
    ['in the dark', { colorScheme: 'dark' }],
    ['on a telephone', { width: 380 }],
  ] as const)('it is accessible %s with every table open, asks for nothing and is no wider than the window', async (_where, view) => {
    const { page, asked, said } = await open(small, view)
    expect(await widthBeyondWindow(page)).toBe(0)
    await page.evaluate('for (const one of document.querySelectorAll("details")) one.open = true')
    expect(await findAccessibilityFaults(page)).toEqual([])
    expect(await widthBeyondWindow(page)).toBe(0)
    expect(asked).toHaveLength(1)
    expect(said).toEqual([])
    await page.context().close()
  })

  test('several currencies and names that nobody expects fit as well, and run nothing', async () => {
    const { page, said } = await open(reportFixture({ currencies: ['GBP', 'KWD'], cities: odd, categories: odd, products: odd }), { width: 380, colorScheme: 'dark' })
    expect(await widthBeyondWindow(page)).toBe(0)
    expect(await findAccessibilityFaults(page)).toEqual([])
    expect(said).toEqual([])
    expect(await page.locator('script').count()).toBe(0)
    await page.context().close()
  })

  test('on paper it is light on any screen, what is folded lies open, no table is cut off, and it takes few pages of A4', async () => {
    // 184 mm between the margins.
    const { page } = await open(reportFixture({ restatedEvents: 60 }), { width: 695, colorScheme: 'dark' })
    const ink = 'getComputedStyle(document.body).color'
    expect(await page.evaluate(ink)).toBe('rgb(231, 238, 242)')
    await page.emulateMedia({ media: 'print' })
    expect(await page.evaluate(ink)).toBe('rgb(20, 33, 42)')
    expect(await page.locator('details table').first().isVisible()).toBe(true)
    expect(await page.evaluate('[...document.querySelectorAll("table:not(.wide)")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.caption.textContent)')).toEqual([])
    const pdf = (await page.pdf({ preferCSSPageSize: true })).toString('latin1')
    const boxes = [...pdf.matchAll(/\/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]/g)].map(([, width, height]) => [Math.round(Number(width)), Math.round(Number(height))])
    expect(boxes.length).toBeGreaterThan(2)
    expect(boxes.length).toBeLessThan(12)
    // Points: A4 upright, and lying where the table of cities and categories is wide.
    for (const box of boxes) expect([[595, 842], [842, 595], [596, 842], [842, 596]]).toContainEqual(box)
    await page.context().close()
  })
})
