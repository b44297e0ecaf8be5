/** The versioned table of seasons: a version never changes, setting another table makes the next one, and the answers use the newest. */
import { InvalidRequestError } from '#core/errors.ts'
import type { Seasons } from '#core/period.ts'
import type { SeasonTable, SeasonVersion } from '#core/season-table.ts'
import { sameSeasonTable, seasonsOf } from '#core/season-table.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'

/** The version in use, unless another is named. Throws InvalidRequestError where there is no such version. */
export async function readSeasons(queryable: Queryable, version?: number): Promise<Seasons> {
  return seasonsOf(await readSeasonVersion(queryable, version))
}

export async function readSeasonVersion(queryable: Queryable, version?: number): Promise<SeasonVersion> {
  const [found] = await selectVersions(queryable, version === undefined ? 'v.version = l.season_version' : 'v.version = $1', version === undefined ? [] : [version])
  if (found === undefined) throw new InvalidRequestError(`There is no version ${version} of the seasons. "tidemark seasons list --all" shows those there are.`, { parameter: 'version' })
  return found
}

/** Newest first. */
export async function listSeasonVersions(queryable: Queryable): Promise<SeasonVersion[]> {
  return selectVersions(queryable, 'true', [])
}

/** Makes the table the one in use, as a new version; where it is in use already nothing changes. */
export async function setSeasons(database: Database, table: SeasonTable): Promise<{ readonly version: SeasonVersion; readonly isNew: boolean }> {
  return inTransaction(database, {}, async (client) => {
    // Of two at once, the second sees the first's.
    await run(client, 'SELECT FROM lake_state FOR UPDATE')
    const current = await readSeasonVersion(client)
    if (sameSeasonTable(current, table)) return { version: current, isNew: false }
    const [made] = await run<{ version: number }>(
      client,
      'INSERT INTO season_versions (version, calendar) SELECT max(version) + 1, $1 FROM season_versions RETURNING version',
      [table.calendar],
    )
    const { version } = made!
    for (const { name, from, to } of table.seasons) {
      await run(client, 'INSERT INTO seasons (version, name, first_month, first_day, last_month, last_day) VALUES ($1, $2, $3, $4, $5, $6)', [version, name, from.month, from.day, to.month, to.day])
    }
    await run(client, 'UPDATE lake_state SET season_version = $1', [version])
    return { version: await readSeasonVersion(client), isNew: true }
  })
}

type SeasonRow = { name: string; first_month: number; first_day: number; last_month: number; last_day: number }

async function selectVersions(queryable: Queryable, condition: string, values: readonly unknown[]): Promise<SeasonVersion[]> {
  const rows = await run<{ version: number; calendar: string; created_at: Date; current: boolean; seasons: SeasonRow[] }>(
    queryable,
    /* sql */ `
    SELECT v.version, v.calendar, v.created_at, v.version = l.season_version AS current, json_agg(s ORDER BY s.first_month, s.first_day) AS seasons
    FROM season_versions v JOIN seasons s USING (version) CROSS JOIN lake_state l
    WHERE ${condition} GROUP BY v.version, l.season_version ORDER BY v.version DESC`,
    values,
  )
  return rows.map((row) => ({
    version: row.version,
    calendar: row.calendar,
    createdAt: row.created_at.toISOString(),
    isCurrent: row.current,
    seasons: row.seasons.map((season) => ({
      name: season.name,
      from: { month: season.first_month, day: season.first_day },
      to: { month: season.last_month, day: season.last_day },
    })),
  }))
}
