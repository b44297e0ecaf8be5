/**
 * The register of indices: what there is, what is being built, which months are due. Changes go to every index that builds or serves; an index is built
 * while they do, month by month, and takes the alias when no month is left. Whoever adds an index holds the follower's row lock, so that each reading
 * either was committed before, and the build reads what it saw, or sends to the new index as well.
 */
import type { PoolClient } from 'pg'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import { beginFollowing, lockFollower } from './search-follower.ts'
import { figuresFollower } from './search-follower.ts'

export type SearchKind = View['name'] | 'sales'
export const searchKinds: readonly SearchKind[] = [...views.map((view) => view.name), 'sales']

export type IndexState = 'building' | 'serving' | 'retired'
export type SearchIndexRow = {
  readonly name: string
  readonly kind: SearchKind
  readonly incarnation: string
  readonly generation: number
  readonly state: IndexState
  /** It was created once. */
  readonly isMade: boolean
  /** When its building began. */
  readonly monthsDue: number
}

type IndexRow = { index_name: string; kind: SearchKind; incarnation: string; generation: number; state: IndexState; made: boolean; months_due: number }

const indexColumns = 'index_name, kind, incarnation, generation, state, made, months_due'

function asIndex(row: IndexRow): SearchIndexRow {
  return { name: row.index_name, kind: row.kind, incarnation: row.incarnation, generation: row.generation, state: row.state, isMade: row.made, monthsDue: row.months_due }
}

export async function listIndices(queryable: Queryable): Promise<SearchIndexRow[]> {
  return (await run<IndexRow>(queryable, `SELECT ${indexColumns} FROM search_indices ORDER BY kind, created_at, generation`)).map(asIndex)
}

/** The name that people and dashboards ask for. */
export function aliasOf(prefix: string, kind: SearchKind): string {
  return `${prefix}-${kind}`
}

function indexNameOf(prefix: string, kind: SearchKind, incarnation: string, generation: number): string {
  const name = `${aliasOf(prefix, kind)}-${incarnation.replaceAll('-', '').slice(0, 8)}`
  return generation === 1 ? name : `${name}-${generation}`
}

/** Begins to follow, or begins anew in another incarnation or cluster: indices of before serve until the new ones are built. */
export async function beginIndices(database: Database, prefix: string): Promise<void> {
  await inTransaction(database, {}, async (client) => {
    const { incarnation } = await beginFollowing(client)
    await client.query(`DELETE FROM search_months_due`)
    await client.query(`UPDATE search_indices SET state = 'retired'`)
    for (const kind of searchKinds) await addBuild(client, prefix, kind, incarnation)
  })
}

/** Asks for an index to be built beside the one that serves. False where one is being built already. */
export async function requestBuild(database: Database, prefix: string, kind: SearchKind): Promise<boolean> {
  return inTransaction(database, {}, async (client) => {
    await lockFollower(client)
    const building = await run(client, `SELECT FROM search_indices WHERE kind = $1 AND state = 'building'`, [kind])
    if (building.length > 0) return false
    const [follower] = await run<{ incarnation: string }>(client, 'SELECT incarnation FROM search_followers WHERE follower = $1', [figuresFollower])
    if (follower === undefined) return false
    await addBuild(client, prefix, kind, follower.incarnation)
    return true
  })
}

/** An index that is gone is built anew; one that had been building is begun again. */
export async function replaceIndex(database: Database, prefix: string, lost: SearchIndexRow): Promise<void> {
  await inTransaction(database, {}, async (client) => {
    await lockFollower(client)
    const gone = await client.query(`UPDATE search_indices SET state = 'retired' WHERE index_name = $1 AND state <> 'retired'`, [lost.name])
    if (gone.rowCount === 0) return
    await client.query('DELETE FROM search_months_due WHERE index_name = $1', [lost.name])
    const building = await run(client, `SELECT FROM search_indices WHERE kind = $1 AND state = 'building'`, [lost.kind])
    if (building.length === 0) await addBuild(client, prefix, lost.kind, lost.incarnation)
  })
}

async function addBuild(client: PoolClient, prefix: string, kind: SearchKind, incarnation: string): Promise<void> {
  const [last] = await run<{ generation: number | null }>(client, 'SELECT max(generation) AS generation FROM search_indices WHERE kind = $1 AND incarnation = $2', [kind, incarnation])
  const generation = (last?.generation ?? 0) + 1
  const name = indexNameOf(prefix, kind, incarnation, generation)
  await client.query(`INSERT INTO search_indices (index_name, kind, incarnation, generation, state) VALUES ($1, $2, $3, $4, 'building')`, [name, kind, incarnation, generation])
  if (kind === 'sales') return
  const view = views.find((one) => one.name === kind)!
  await client.query(
    /* sql */ `
    WITH months AS (
      SELECT p.month FROM batch_parts p JOIN publish_pointer x ON x.batch = p.batch WHERE p.view = $2 AND p.month <> 'infinity'
      UNION SELECT date_trunc('month', period)::date FROM live_runs WHERE view = $2
      UNION SELECT date_trunc('month', ${view.grain[0].name})::date FROM correction_${view.name}
    ), due AS (INSERT INTO search_months_due (index_name, month, reason) SELECT $1, month, 'build' FROM months RETURNING 1)
    UPDATE search_indices SET months_due = (SELECT count(*) FROM months) WHERE index_name = $1`,
    [name, kind],
  )
}

export async function markMade(queryable: Queryable, index: string): Promise<void> {
  await run(queryable, 'UPDATE search_indices SET made = true WHERE index_name = $1', [index])
}

export type MonthDue = { readonly index: SearchIndexRow; readonly month: string; readonly reason: 'build' | 'pruned' | 'differs' }

/** The newest month that is due somewhere; null where none is. */
export async function nextMonthDue(queryable: Queryable): Promise<MonthDue | null> {
  const [row] = await run<IndexRow & { month: string; reason: MonthDue['reason'] }>(
    queryable,
    `SELECT ${indexColumns}, month, reason FROM search_months_due JOIN search_indices USING (index_name) WHERE state <> 'retired' ORDER BY month DESC, index_name LIMIT 1`,
  )
  return row === undefined ? null : { index: asIndex(row), month: row.month, reason: row.reason }
}

export async function finishMonth(queryable: Queryable, index: string, month: string): Promise<void> {
  await run(queryable, 'DELETE FROM search_months_due WHERE index_name = $1 AND month = $2', [index, month])
}

/** A month whose documents differ is sent again whole. */
export async function resendMonths(queryable: Queryable, index: string, months: readonly string[]): Promise<void> {
  await run(queryable, `INSERT INTO search_months_due (index_name, month, reason) SELECT $1, m, 'differs' FROM unnest($2::date[]) m ON CONFLICT DO NOTHING`, [index, months])
  await run(queryable, 'UPDATE search_followers SET months_resent = months_resent + $2 WHERE follower = $1', [figuresFollower, months.length])
}

/** Indices of views that are building and have no month left. */
export async function listBuilt(queryable: Queryable): Promise<SearchIndexRow[]> {
  return (
    await run<IndexRow>(
      queryable,
      `SELECT ${indexColumns} FROM search_indices i WHERE state = 'building' AND kind <> 'sales' AND NOT EXISTS (SELECT FROM search_months_due d WHERE d.index_name = i.index_name)`,
    )
  ).map(asIndex)
}

/** The alias names it by now: those before it may go. */
export async function markServing(database: Database, index: SearchIndexRow): Promise<void> {
  await inTransaction(database, {}, async (client) => {
    await lockFollower(client)
    const serving = await client.query(`UPDATE search_indices SET state = 'serving', served_at = clock_timestamp() WHERE index_name = $1 AND state = 'building'`, [index.name])
    if (serving.rowCount === 0) return
    await client.query(`UPDATE search_indices SET state = 'retired' WHERE kind = $1 AND index_name <> $2 AND state = 'serving'`, [index.kind, index.name])
  })
}

/** Forgets an index that was removed, unless its generation is needed to name the next one. */
export async function forgetIndex(queryable: Queryable, index: string): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    DELETE FROM search_indices i WHERE index_name = $1 AND state = 'retired'
      AND EXISTS (SELECT FROM search_indices n WHERE n.kind = i.kind AND (n.incarnation <> i.incarnation OR n.generation > i.generation) AND n.state <> 'retired')`,
    [index],
  )
  await run(queryable, 'DELETE FROM search_rejects WHERE index_name = $1', [index])
}

/**
 * Pruning takes rows away whose changes the follower may not have sent yet, when its index is away for long: their months are due then. Part of the
 * transaction that prunes up to `epoch`.
 */
export async function notePruned(client: PoolClient, epoch: number): Promise<void> {
  const corrected = views.map((view) => `SELECT '${view.name}', ${view.grain[0].name} FROM correction_${view.name}, search_followers WHERE epoch <= $1 AND xid >= position_xid`)
  await client.query(
    /* sql */ `
    INSERT INTO search_months_due (index_name, month, reason)
    SELECT DISTINCT i.index_name, date_trunc('month', unsent.period)::date, 'pruned' FROM (
      SELECT view, period FROM live_runs, search_followers WHERE epoch <= $1 AND xid >= position_xid
      UNION ${corrected.join('\nUNION ')}
    ) unsent (view, period) JOIN search_indices i ON i.kind = unsent.view AND i.state <> 'retired'
    ON CONFLICT DO NOTHING`,
    [epoch],
  )
}

export type SearchReject = { readonly index: string; readonly id: string; readonly reason: string; readonly document: string; readonly rejectedAt: string }

export async function keepRejects(queryable: Queryable, index: string, rejects: readonly { readonly id: string; readonly reason: string; readonly document: string }[]): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    INSERT INTO search_rejects (index_name, id, reason, document) SELECT $1, r.* FROM unnest($2::text[], $3::text[], $4::text[]) r
    ON CONFLICT (index_name, id) DO UPDATE SET reason = EXCLUDED.reason, document = EXCLUDED.document, rejected_at = clock_timestamp()`,
    [index, rejects.map((one) => one.id), rejects.map((one) => one.reason), rejects.map((one) => one.document)],
  )
}

/** A document that was refused and is taken now is no reject any more. */
export async function dropRejects(queryable: Queryable, index: string, ids: readonly string[]): Promise<void> {
  await run(queryable, 'DELETE FROM search_rejects WHERE index_name = $1 AND id = ANY ($2)', [index, ids])
}

export async function countRejects(queryable: Queryable): Promise<number> {
  const [row] = await run<{ rejects: bigint }>(queryable, 'SELECT count(*) AS rejects FROM search_rejects')
  return Number(row!.rejects)
}

export async function listRejects(queryable: Queryable, limit: number): Promise<SearchReject[]> {
  const rows = await run<{ index_name: string; id: string; reason: string; document: string; rejected_at: Date }>(
    queryable,
    'SELECT index_name, id, reason, document, rejected_at FROM search_rejects ORDER BY rejected_at DESC, index_name, id LIMIT $1',
    [limit],
  )
  return rows.map((row) => ({ index: row.index_name, id: row.id, reason: row.reason, document: row.document, rejectedAt: row.rejected_at.toISOString() }))
}
