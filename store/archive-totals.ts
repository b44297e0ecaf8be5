/** What the archive's runs came to: counters for metrics, one row per kind of run. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import type { ArchiveFile } from './register.ts'

/** `committed`: between two cuts. `batch`: up to a cut. */
export type ArchiveRunKind = 'committed' | 'batch' | 'compaction' | 'repair'

export type ArchiveWork = { readonly files: number; readonly rows: number; readonly bytes: number; readonly durationMs: number }
/** Sums that only rise, over all runs that registered something, and the newest of them. */
export type ArchiveTotals = ArchiveWork & { readonly kind: ArchiveRunKind; readonly runs: number; readonly lastAt: Date; readonly last: ArchiveWork }

export async function recordArchiveRun(queryable: Queryable, kind: ArchiveRunKind, files: readonly Pick<ArchiveFile, 'rows' | 'bytes'>[], durationMs: number): Promise<void> {
  const sum = (of: (file: Pick<ArchiveFile, 'rows' | 'bytes'>) => number): number => files.reduce((total, file) => total + of(file), 0)
  await run(
    queryable,
    /* sql */ `
    INSERT INTO archive_totals AS t (kind, runs, files, rows, bytes, duration_ms, last_at, last_files, last_rows, last_bytes, last_duration_ms)
    VALUES ($1, 1, $2, $3, $4, $5, clock_timestamp(), $2, $3, $4, $5)
    ON CONFLICT (kind) DO UPDATE SET runs = t.runs + 1, files = t.files + EXCLUDED.files, rows = t.rows + EXCLUDED.rows, bytes = t.bytes + EXCLUDED.bytes,
      duration_ms = t.duration_ms + EXCLUDED.duration_ms, last_at = EXCLUDED.last_at, last_files = EXCLUDED.last_files, last_rows = EXCLUDED.last_rows,
      last_bytes = EXCLUDED.last_bytes, last_duration_ms = EXCLUDED.last_duration_ms`,
    [kind, files.length, sum((file) => file.rows), sum((file) => file.bytes), Math.round(durationMs)],
  )
}

/** One for each kind of which there was a run. */
export async function readArchiveTotals(queryable: Queryable): Promise<ArchiveTotals[]> {
  const rows = await run<Record<'runs' | 'files' | 'rows' | 'bytes' | 'duration_ms' | 'last_files' | 'last_rows' | 'last_bytes' | 'last_duration_ms', bigint> & { kind: ArchiveRunKind; last_at: Date }>(
    queryable,
    'SELECT kind, runs, files, rows, bytes, duration_ms, last_at, last_files, last_rows, last_bytes, last_duration_ms FROM archive_totals ORDER BY kind',
  )
  return rows.map((row) => ({
    kind: row.kind,
    runs: Number(row.runs),
    files: Number(row.files),
    rows: Number(row.rows),
    bytes: Number(row.bytes),
    durationMs: Number(row.duration_ms),
    lastAt: row.last_at,
    last: { files: Number(row.last_files), rows: Number(row.last_rows), bytes: Number(row.last_bytes), durationMs: Number(row.last_duration_ms) },
  }))
}
