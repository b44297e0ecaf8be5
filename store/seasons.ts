/** The table of seasons, in the version that the store uses. */
import type { Seasons } from '#core/period.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export async function readSeasons(queryable: Queryable): Promise<Seasons> {
  const rows = await run<{ version: number; name: string; first_month: number; first_day: number }>(
    queryable,
    /* sql */ `
    SELECT s.version, s.name, s.first_month, s.first_day FROM seasons s JOIN lake_state l ON l.season_version = s.version
    ORDER BY s.first_month, s.first_day`,
  )
  return { version: rows[0]!.version, starts: rows.map((row) => ({ name: row.name, firstMonth: row.first_month, firstDay: row.first_day })) }
}
