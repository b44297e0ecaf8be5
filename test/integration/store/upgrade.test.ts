/** A store that an older Tidemark made is migrated with its figures; one that a newer made is refused with the version to use. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseMonthPeriod } from '#core/period.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { Database } from '#store/database.ts'
import { openDatabase, run } from '#store/database.ts'
import { knownMigrations } from '#store/known-migrations.ts'
import { migrateStore, readMadeBy } from '#store/migrate.ts'
import { listSeasonVersions } from '#store/seasons.ts'
import { version } from '#store/version.ts'
import { fillOldStore } from '#test/lab/old-store.ts'
import type { TestPostgres } from '#test/postgres.ts'
import { freshSchema, openTestPostgres } from '#test/postgres.ts'

const terms = { ledgerIdsMax: 1000 }
const merged = ['revenue', 'product_sales', 'product_city_sales', 'pace'] as const

let postgres: TestPostgres
beforeAll(async () => {
  postgres = await openTestPostgres()
})
afterAll(() => postgres[Symbol.asyncDispose]())

async function openOld(upTo: string): Promise<Database> {
  const database = openDatabase({ url: postgres.url, schema: await freshSchema(postgres.url, 'old') })
  expect(await migrateStore(database, { upTo })).toEqual(knownMigrations.slice(0, knownMigrations.indexOf(upTo) + 1))
  return database
}

/** Every row of the merged views, as text. */
async function figures({ pool }: Database): Promise<string[]> {
  const rows = await Promise.all(merged.map((view) => run<{ text: string }>(pool, `SELECT m::text AS text FROM merged_${view} m ORDER BY 1`)))
  return rows.flatMap((found, at) => found.map(({ text }) => `${merged[at]} ${text}`))
}

describe('a store of migration 0004 with figures', () => {
  test('has the same figures once it is migrated, and says which Tidemark did it', async () => {
    await using database = await openOld('0004_losses_and_marks')
    await fillOldStore(database)
    const before = await figures(database)
    expect(before.length).toBeGreaterThan(20)
    expect(await readMadeBy(database.pool)).toBeNull()
    expect(await migrateStore(database)).toEqual(knownMigrations.slice(4))
    expect(await figures(database)).toEqual(before)
    expect(await readMadeBy(database.pool)).toBe(version)
    const march = await answerRevenue(database.pool, { by: ['city'], period: parseMonthPeriod('2025-03') }, terms)
    // Batch rows of 10.00 each, and live ones of 0.05 beyond the horizon.
    expect(march.rows.map(({ city, net }) => [city, net])).toEqual([['Leeds', '30.10'], ['London', '40.15']])
    expect(await migrateStore(database)).toEqual([])
  })

  test('keeps seasons that somebody wrote into it, with the last days that they meant', async () => {
    await using database = await openOld('0004_losses_and_marks')
    await run(database.pool, `INSERT INTO seasons VALUES (2, 'sale', 1, 15), (2, 'plain', 2, 29)`)
    await run(database.pool, 'UPDATE lake_state SET season_version = 2')
    await migrateStore(database)
    const [own, first] = await listSeasonVersions(database.pool)
    expect(own).toMatchObject({ version: 2, calendar: 'own', isCurrent: true })
    expect(own!.seasons.map(({ to }) => to)).toEqual([{ month: 2, day: 28 }, { month: 1, day: 14 }])
    expect(first!.seasons.map(({ to }) => to)).toEqual([{ month: 5, day: 31 }, { month: 8, day: 31 }, { month: 11, day: 30 }, { month: 2, day: 29 }])
  })
})

test('a store that two start at once is migrated once', async () => {
  await using database = await openOld('0004_losses_and_marks')
  const ran = await Promise.all([migrateStore(database), migrateStore(database), migrateStore(database)])
  expect(ran.flat().sort()).toEqual(knownMigrations.slice(4))
})

test('a store of a newer Tidemark is refused with the version to use, and is not touched', async () => {
  await using database = openDatabase({ url: postgres.url, schema: await freshSchema(postgres.url, 'newer') })
  await migrateStore(database)
  await run(database.pool, `INSERT INTO migrations (name, run_on) VALUES ('0999_from_the_future', now())`)
  await run(database.pool, `UPDATE lake_state SET made_by = '9.8.7'`)
  await expect(migrateStore(database)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/made by Tidemark 9\.8\.7.*0999_from_the_future.*Use Tidemark 9\.8\.7, or a newer one/) })
  await run(database.pool, 'UPDATE lake_state SET made_by = NULL')
  await expect(migrateStore(database)).rejects.toThrow(/made by a newer Tidemark.*Use the version that made it/)
})
