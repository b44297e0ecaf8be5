/** Chromium for the page's tests. It is the one thing that npm does not bring. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { chromium, type Browser, type Page } from 'playwright-core'

const chromiumPath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** Why the browser tests are skipped, with the command that enables them; null where they run. */
export const noBrowser = existsSync(chromiumPath)
  ? null
  : `no Chromium at ${chromiumPath}; enable with: apt-get update && apt-get install -y chromium (or set CHROMIUM to its path)`

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumPath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

type AxeViolation = { readonly id: string; readonly impact: string | null; readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[] }

/** Rules of WCAG 2.2 AA and axe's own best practices that the page breaks seriously, each with where. */
export async function findAccessibilityFaults(page: Page): Promise<string[]> {
  const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  await page.evaluate(axe)
  const violations = (await page.evaluate('axe.run().then((result) => result.violations)')) as AxeViolation[]
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`))
}
