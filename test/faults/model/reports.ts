/** Reports under a model run: what was published stays byte for byte, and each version leads to the next by its restatement, to the penny. */
import { strict as assert } from 'node:assert'
import { createHash } from 'node:crypto'
import { freezeReport, refreshReports } from '#batch/reports.ts'
import { ConflictError } from '#core/errors.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { reportPeriodOf } from '#core/report/periods.ts'
import type { Report } from '#core/report/report.ts'
import { parseSeasonTable } from '#core/season-table.ts'
import { listReports, readReport, readReportFiles } from '#store/reports.ts'
import { readSeasons, setSeasons } from '#store/seasons.ts'
import type { Lab } from '#test/lab.ts'
import type { Merged } from '#test/lab/merged.ts'
import { expectReportExact, labReportOptions } from '#test/lab/reports.ts'

/** Tables that a run changes between. */
const seasonTables = [
  '{"calendar": "meteorological", "seasons": [{"name": "spring", "from": "03-01", "to": "05-31"}, {"name": "summer", "from": "06-01", "to": "08-31"}, {"name": "autumn", "from": "09-01", "to": "11-30"}, {"name": "winter", "from": "12-01", "to": "02-29"}]}',
  '{"calendar": "two halves", "seasons": [{"name": "summer", "from": "04-10", "to": "10-09"}, {"name": "winter", "from": "10-10", "to": "04-09"}]}',
  '{"calendar": "shifted", "seasons": [{"name": "spring", "from": "03-15", "to": "06-14"}, {"name": "summer", "from": "06-15", "to": "09-14"}, {"name": "autumn", "from": "09-15", "to": "12-14"}, {"name": "winter", "from": "12-15", "to": "03-14"}]}',
].map(parseSeasonTable)

export class ModelReports {
  readonly #lab: Lab
  readonly #onHit: (name: string) => void
  /** `kind period version` → digest of its first rendering. */
  readonly #published = new Map<string, string>()

  constructor(lab: Lab, onHit: (name: string) => void) {
    this.#lab = lab
    this.#onHit = onHit
  }

  /** The report of a kind that holds one of the days on which something was sold. */
  async report(kind: ReportKind, pick: number, merged: Merged): Promise<void> {
    if (merged.batch === 0) return
    const days = [...new Set([...merged.views.get('revenue')!.keys()].map((key) => String((JSON.parse(key) as unknown[])[0])))].filter((day) => day >= '1971' && day < '2026').sort()
    if (days.length === 0) return
    const day = Math.floor(Date.parse(days[pick % days.length]!) / 86_400_000)
    const period = reportPeriodOf(kind, day, await readSeasons(this.#lab.database.pool))
    try {
      const { outcome } = await freezeReport(labReportOptions(this.#lab), { kind, period })
      if (outcome === 'published') this.#onHit('report published')
    } catch (thrown) {
      // Behind a roll-back a report on a newer batch stays the newest.
      if (!(thrown instanceof ConflictError)) throw thrown
    }
  }

  async refresh(): Promise<void> {
    const refreshed = await refreshReports(labReportOptions(this.#lab))
    if (refreshed.length > 0) this.#onHit('report restated')
  }

  async setSeasons(table: number): Promise<void> {
    await setSeasons(this.#lab.database, seasonTables[table % seasonTables.length]!)
  }

  /** After every command. */
  async check(): Promise<void> {
    const { rows } = await this.#lab.database.pool.query<{ name: string; kind: ReportKind; period: string; version: number; digest: string }>(
      `SELECT kind || ' ' || period || ' ' || version AS name, kind, period, version, encode(sha256(convert_to(document, 'UTF8')), 'hex') AS digest FROM report_versions ORDER BY kind, period, version`,
    )
    const now = new Map(rows.map((row) => [row.name, row.digest]))
    for (const [name, digest] of this.#published) assert.equal(now.get(name), digest, `the report ${name} is not what it was`)
    for (const { name, kind, period, version, digest } of rows) {
      if (this.#published.has(name)) continue
      const made = await readReport(this.#lab.database.pool, kind, period, version)
      expectReportExact(this.#lab, made)
      if (made.restatement !== null) expectLeadsTo(await readReport(this.#lab.database.pool, kind, period, version - 1), made)
      await this.#checkFiles(made)
      this.#published.set(name, digest)
    }
  }

  /** At the end: every file still has the bytes that were published. */
  async checkAllFiles(): Promise<void> {
    for (const { kind, period, version } of await listReports(this.#lab.database.pool, { allVersions: true })) await this.#checkFiles({ kind, period, version })
  }

  async #checkFiles(of: { readonly kind: ReportKind; readonly period: string; readonly version: number }): Promise<void> {
    for (const { path, bytes, sha256 } of await readReportFiles(this.#lab.database.pool, of)) {
      const file = await this.#lab.lake.get(path)
      assert.equal(file.bytes, bytes, path)
      assert.equal(createHash('sha256').update(await file.read(0, file.bytes)).digest('hex'), sha256, path)
    }
  }
}

/** The version before, and the causes, make up the version. */
function expectLeadsTo(before: Report, after: Report): void {
  const { causes } = after.restatement!
  const totals = (report: Report): Map<string, bigint> => new Map(report.lines.filter((line) => line.section === 'total').map((line) => [line.currency, BigInt(line.now.netMinor)]))
  for (const currency of new Set([...totals(before).keys(), ...totals(after).keys()])) {
    const explained = causes.filter((cause) => cause.currency === currency).reduce((sum, cause) => sum + BigInt(cause.difference.netMinor), 0n)
    assert.equal((totals(before).get(currency) ?? 0n) + explained, totals(after).get(currency) ?? 0n, `${after.kind} ${after.period}: version ${before.version} and its restatement are not version ${after.version}`)
  }
}
