/**
 * Batches and the pointer. A batch run stages its rows under row versions that nobody reads; publishing moves one pointer row. A batch is a map from
 * (view, month) to a row version, so it costs what changed.
 */
import type { PoolClient } from 'pg'
import { ConflictError, InvalidRequestError, OvertakenError } from '#core/errors.ts'
import { measures } from '#core/views/measures.ts'
import type { View } from '#core/views/view.ts'
import { views } from '#core/views/all.ts'
import type { CorrectionPlan } from './corrections.ts'
import { recordMove } from './as-of.ts'
import { bookCorrections } from './corrections.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import { batchLock, lockKeys } from './epochs.ts'
import { undoSwitch } from './logic.ts'
import type { LogicChange } from './logic-change.ts'
import { changeLogic, dropStagedLogic } from './logic-change.ts'
import { dropPendingFiles, readPendingFiles } from './pending-files.ts'
import { readFiles, swapFiles } from './register.ts'
import { grainList, measureList } from './view-tables.ts'

export type BatchStatus = 'running' | 'held' | 'published' | 'superseded' | 'dropped' | 'failed' | 'pruned'
export type BatchKind = 'empty' | 'incremental' | 'full'

export type Batch = {
  readonly batch: number
  readonly epoch: number
  readonly baseBatch: number | null
  readonly kind: BatchKind
  readonly status: BatchStatus
  readonly startedAt: Date
  readonly finishedAt: Date | null
  readonly publishedAt: Date | null
  readonly eventsRead: number | null
  readonly eventsCounted: number | null
  readonly message: string | null
  readonly crossCheck: unknown
  /** That its rows were made with; null of the empty batch. */
  readonly logicVersion: string | null
  /** Milliseconds by step. */
  readonly steps: Readonly<Record<string, number>> | null
  readonly inputs: BatchInputs | null
}

export type InputSums = { readonly files: number; readonly rows: number; readonly bytes: number }
/** Files read for figures, and older ones looked through for copies, by topic. */
export type BatchInputs = Readonly<Record<string, { readonly new: InputSums; readonly old: InputSums }>>

export type Pointer = { readonly batch: number; readonly epoch: number; readonly moves: number; readonly pausedReason: string | null }

type BatchRow = {
  batch: bigint
  epoch: bigint
  base_batch: bigint | null
  kind: BatchKind
  status: BatchStatus
  started_at: Date
  finished_at: Date | null
  published_at: Date | null
  events_read: bigint | null
  events_counted: bigint | null
  message: string | null
  cross_check: unknown
  logic_version: string | null
  steps: Readonly<Record<string, number>> | null
  inputs: BatchInputs | null
}

const batchColumns = 'batch, epoch, base_batch, kind, status, started_at, finished_at, published_at, events_read, events_counted, message, cross_check, logic_version, steps, inputs'

function asBatch(row: BatchRow): Batch {
  return {
    batch: Number(row.batch),
    epoch: Number(row.epoch),
    baseBatch: row.base_batch === null ? null : Number(row.base_batch),
    kind: row.kind,
    status: row.status,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    publishedAt: row.published_at,
    eventsRead: row.events_read === null ? null : Number(row.events_read),
    eventsCounted: row.events_counted === null ? null : Number(row.events_counted),
    message: row.message,
    crossCheck: row.cross_check,
    logicVersion: row.logic_version,
    steps: row.steps,
    inputs: row.inputs,
  }
}

export async function readPointer(queryable: Queryable): Promise<Pointer> {
  const [row] = await run<{ batch: bigint; epoch: bigint; moves: bigint; paused_reason: string | null }>(
    queryable,
    'SELECT batch, epoch, moves, paused_reason FROM publish_pointer',
  )
  return { batch: Number(row!.batch), epoch: Number(row!.epoch), moves: Number(row!.moves), pausedReason: row!.paused_reason }
}

/** Newest first. */
export async function listBatches(queryable: Queryable, limit = 100): Promise<Batch[]> {
  const rows = await run<BatchRow>(queryable, `SELECT ${batchColumns} FROM batches ORDER BY batch DESC LIMIT $1`, [limit])
  return rows.map(asBatch)
}

/** Of every batch there ever was. */
export async function readStatuses(queryable: Queryable): Promise<Map<number, BatchStatus>> {
  const rows = await run<{ batch: bigint; status: BatchStatus }>(queryable, 'SELECT batch, status FROM batches')
  return new Map(rows.map((row) => [Number(row.batch), row.status]))
}

export async function readBatch(queryable: Queryable, batch: number): Promise<Batch> {
  const [row] = await run<BatchRow>(queryable, `SELECT ${batchColumns} FROM batches WHERE batch = $1`, [batch])
  if (row === undefined) throw new InvalidRequestError(`There is no batch ${batch}. "tidemark batch list" shows those there are.`)
  return asBatch(row)
}

/**
 * Begins a batch on top of the published one. The session lock on `owner` says that the run is alive: a batch still `running` without it crashed. On top of
 * rows of another logic version, as after a roll-back over its change, only a full one can stand.
 */
export async function beginBatch(database: Database, owner: PoolClient, cutEpoch: number, kind: 'incremental' | 'full', logicVersion: string): Promise<Batch> {
  await markCrashed(database)
  return inTransaction(database, {}, async (client) => {
    const pointer = await readPointer(client)
    const [row] = await run<BatchRow>(
      client,
      /* sql */ `
      INSERT INTO batches (batch, epoch, base_batch, kind, status, logic_version)
      SELECT nextval('batch_numbers'), $1, b.batch, CASE WHEN coalesce(b.logic_version, $4) <> $4 THEN 'full' ELSE $3 END, 'running', $4
      FROM batches b WHERE b.batch = $2 RETURNING ${batchColumns}`,
      [cutEpoch, pointer.batch, kind, logicVersion],
    )
    const batch = asBatch(row!)
    await owner.query(`SELECT pg_advisory_lock(${lockKeys}$1)`, [batchLock(batch.batch)])
    return batch
  })
}

/** A batch that runs no more although it says so was ended by a crash: its rows are nobody's. */
async function markCrashed(database: Database): Promise<void> {
  const running = await run<{ batch: bigint }>(database.pool, `SELECT batch FROM batches WHERE status = 'running'`)
  for (const { batch } of running) {
    await inTransaction(database, {}, async (client) => {
      const [lock] = await run<{ ours: boolean }>(client, `SELECT pg_try_advisory_xact_lock(${lockKeys}$1) AS ours`, [batchLock(Number(batch))])
      if (lock?.ours !== true) return
      await discardWork(client, Number(batch))
      await client.query(
        `UPDATE batches SET status = 'failed', finished_at = clock_timestamp(), message = 'The run ended before it finished.' WHERE batch = $1 AND status = 'running'`,
        [batch],
      )
    })
  }
}

/** The batches that run now, oldest first. */
export async function runningBatches(database: Database): Promise<number[]> {
  await markCrashed(database)
  return (await run<{ batch: bigint }>(database.pool, `SELECT batch FROM batches WHERE status = 'running' ORDER BY batch`)).map(({ batch }) => Number(batch))
}

export async function failBatch(database: Database, batch: number, message: string): Promise<void> {
  await discardWork(database.pool, batch)
  await run(database.pool, `UPDATE batches SET status = 'failed', finished_at = clock_timestamp(), message = $2 WHERE batch = $1 AND status = 'running'`, [batch, message])
}

/** A row version for this batch to stage under. It belongs to the batch from now on, so that pruning leaves it alone. */
export async function newStage(queryable: Queryable, batch: number, view: View): Promise<number> {
  const [row] = await run<{ version: bigint }>(
    queryable,
    `INSERT INTO batch_parts (batch, view, month, version, rows) VALUES ($1, $2, 'infinity', nextval('row_versions'), 0) RETURNING version`,
    [batch, view.name],
  )
  return Number(row!.version)
}

export type StagedRow = readonly (string | bigint)[]

/** Adds rows (the grain's values, then the measures) to a stage; `adds` where a key may stand there already. */
export async function stageRows(queryable: Queryable, view: View, version: number, rows: readonly StagedRow[], adds = false): Promise<void> {
  if (rows.length === 0) return
  const types = [...view.grain.map((dimension) => (dimension.kind === 'text' ? 'text' : dimension.kind === 'hour' ? 'smallint' : 'date')), ...measures.map(() => 'bigint')]
  const columns = types.map((_, i) => rows.map((row) => row[i]!))
  await run(
    queryable,
    /* sql */ `
    INSERT INTO batch_${view.name} AS t (version, ${grainList(view)}, ${measureList})
    SELECT $1, * FROM unnest(${types.map((type, i) => `$${i + 2}::${type}[]`).join(', ')})
    ${adds ? `ON CONFLICT (version, ${grainList(view)}) DO UPDATE SET ${measures.map((name) => `${name} = t.${name} + EXCLUDED.${name}`).join(', ')}` : ''}`,
    [version, ...columns],
  )
}

/**
 * Makes the batch's parts: for every month that the stage touches a new version (the base's rows and the staged ones summed), for every other month
 * the base's version. A full batch has no base.
 */
export async function combineParts(database: Database, batch: Batch, stages: ReadonlyMap<string, number>): Promise<void> {
  await inTransaction(database, {}, async (client) => {
    const [now] = await run<{ status: BatchStatus }>(client, 'SELECT status FROM batches WHERE batch = $1 FOR UPDATE', [batch.batch])
    if (now?.status !== 'running' && now?.status !== 'held') throw new ConflictError(`Batch ${batch.batch} is ${now?.status ?? 'gone'} by now: somebody else decided.`)
    await dropCombined(client, batch.batch)
    for (const view of views) {
      const stage = stages.get(view.name)!
      const base = batch.kind === 'full' ? 0 : batch.baseBatch!
      await combineView(client, batch.batch, base, view, stage)
    }
  })
}

/** What an earlier attempt combined that was then not published: a held batch is accepted again once publishing goes on. */
async function dropCombined(client: PoolClient, batch: number): Promise<void> {
  const parts = await run<{ view: string; version: bigint }>(client, `DELETE FROM batch_parts WHERE batch = $1 AND month <> 'infinity' RETURNING view, version`, [batch])
  for (const { view, version } of parts) {
    await client.query(`DELETE FROM batch_${view} WHERE version = $1 AND NOT EXISTS (SELECT FROM batch_parts WHERE version = $1)`, [version])
  }
}

async function combineView(client: PoolClient, batch: number, baseBatch: number, view: View, stage: number): Promise<void> {
  const [period] = view.grain
  const month = `date_trunc('month', ${period.name})::date`
  await client.query(/* sql */ `CREATE TEMP TABLE touched ON COMMIT DROP AS
    SELECT t.month, nextval('row_versions') AS version, p.version AS base_version
    FROM (SELECT DISTINCT ${month} AS month FROM batch_${view.name} WHERE version = ${stage}) t
    LEFT JOIN batch_parts p ON p.batch = ${baseBatch} AND p.view = '${view.name}' AND p.month = t.month`)
  // Else the planner takes it for thousands of months, and reads every version of every month there is to find the base's.
  await client.query('ANALYZE touched')
  await client.query(/* sql */ `
    INSERT INTO batch_${view.name} (version, ${grainList(view)}, ${measureList})
    SELECT version, ${grainList(view)}, ${measures.map((name) => `sum(${name})::bigint`).join(', ')}
    FROM (
      SELECT t.version, ${grainList(view, 's.')}, ${measures.map((name) => `s.${name}`).join(', ')}
        FROM batch_${view.name} s JOIN touched t ON t.month = date_trunc('month', s.${period.name})::date WHERE s.version = ${stage}
      UNION ALL
      SELECT t.version, ${grainList(view, 'b.')}, ${measures.map((name) => `b.${name}`).join(', ')}
        FROM touched t JOIN batch_${view.name} b ON b.version = t.base_version
    ) combined
    GROUP BY version, ${grainList(view)}`)
  await client.query(/* sql */ `
    INSERT INTO batch_parts (batch, view, month, version, rows)
    SELECT ${batch}, '${view.name}', t.month, t.version, (SELECT count(*) FROM batch_${view.name} b WHERE b.version = t.version) FROM touched t
    UNION ALL
    SELECT ${batch}, p.view, p.month, p.version, p.rows FROM batch_parts p
      WHERE p.batch = ${baseBatch} AND p.view = '${view.name}' AND p.month <> 'infinity' AND NOT EXISTS (SELECT FROM touched t WHERE t.month = p.month)`)
  await client.query('DROP TABLE touched')
}

/** Drops the stages of a batch that needs them no more. */
async function dropStages(client: PoolClient, batch: number): Promise<void> {
  const stages = await run<{ view: string; version: bigint }>(client, `DELETE FROM batch_parts WHERE batch = $1 AND month = 'infinity' RETURNING view, version`, [batch])
  for (const { view, version } of stages) await client.query(`DELETE FROM batch_${view} WHERE version = $1`, [version])
}

export type Publication = {
  readonly batch: Batch
  readonly corrections: CorrectionPlan
  readonly eventsRead: number
  readonly eventsCounted: number
  readonly crossCheck: object
  /** Of a batch that takes another logic version into use. */
  readonly logic?: LogicChange
}

/**
 * Moves the pointer, in one durable transaction with the corrections that make the equation hold. Throws OvertakenError where another batch was published
 * since this one began, the horizon would go back, or a person was erased whose bytes it brings; ConflictError while publishing is paused.
 */
export async function publishBatch(database: Database, publication: Publication): Promise<void> {
  const { batch } = publication
  await inTransaction(database, {}, async (client) => {
    const pointer = await lockPointer(client)
    const [overtaken] = await run<{ batch: bigint }>(client, 'SELECT batch FROM batches WHERE published_at > (SELECT started_at FROM batches WHERE batch = $1) AND batch <> $1 ORDER BY published_at DESC LIMIT 1', [
      batch.batch,
    ])
    refuseToPublish(batch, pointer, overtaken === undefined ? null : Number(overtaken.batch))
    if (bringsBytes(publication)) await refuseErasedSince(client, batch)
    await bookCorrections(client, batch, publication.corrections)
    await swapPendingFiles(client, batch)
    if (publication.logic !== undefined) await changeLogic(client, batch, publication.logic)
    await dropStages(client, batch.batch)
    const updated = await client.query(
      `UPDATE batches SET status = 'published', finished_at = clock_timestamp(), published_at = clock_timestamp(), events_read = $2, events_counted = $3, cross_check = $4, message = NULL
       WHERE batch = $1 AND status IN ('running', 'held')`,
      [batch.batch, publication.eventsRead, publication.eventsCounted, JSON.stringify(publication.crossCheck)],
    )
    if (updated.rowCount !== 1) throw new ConflictError(`Batch ${batch.batch} is neither running nor held any more.`)
    await client.query('UPDATE publish_pointer SET batch = $1, epoch = $2, moves = moves + 1', [batch.batch, batch.epoch])
    await recordMove(client)
  })
}

/** Whether dead letters with the bytes of records come with it. */
function bringsBytes({ corrections, logic }: Publication): boolean {
  return logic !== undefined || [...corrections.events, ...corrections.settled].some(({ record }) => record !== null && record.value.length > 0)
}

/** What the batch read before a person was erased must not bring them back. */
async function refuseErasedSince(client: PoolClient, { batch }: Batch): Promise<void> {
  const [swap] = await run<{ new_path: string }>(client, `SELECT new_path FROM archive_swaps WHERE reason = 'erased' AND at > (SELECT started_at FROM batches WHERE batch = $1) LIMIT 1`, [batch])
  if (swap !== undefined) throw new OvertakenError(`A person was erased from the archive after batch ${batch} had read it. Run a new batch.`, { path: swap.new_path })
}

/** Files that the batch decoded anew take the place of those that they were made from. */
async function swapPendingFiles(client: PoolClient, batch: Batch): Promise<void> {
  const pending = await readPendingFiles(client, batch.batch)
  const registered = new Map((await readFiles(client, pending.map(({ replaces }) => replaces))).map((file) => [file.path, file]))
  for (const { replaces, file } of pending) {
    const old = registered.get(replaces)
    if (old === undefined) throw new OvertakenError(`${replaces}, which batch ${batch.batch} decoded again, was swapped for another file meanwhile. Run a new batch.`, { path: replaces })
    await swapFiles(client, [old], file, 'redecoded', batch.logicVersion!)
  }
  await dropPendingFiles(client, batch.batch)
}

function refuseToPublish(batch: Batch, pointer: Pointer, overtakenBy: number | null): void {
  const details = { batch: batch.batch, pointer }
  if (pointer.pausedReason !== null) throw new ConflictError(`Publishing is paused (${pointer.pausedReason}). "tidemark batch resume" lets it go on.`, details)
  if (pointer.batch !== batch.baseBatch) {
    throw new OvertakenError(`Batch ${batch.batch} was checked against batch ${batch.baseBatch}, but ${pointer.batch} is published now. Run a new batch.`, details)
  }
  if (batch.epoch <= pointer.epoch) {
    throw new OvertakenError(`Batch ${batch.batch} covers epoch ${batch.epoch}, but the published one covers ${pointer.epoch} already: a horizon never goes back.`, details)
  }
  // Even rolled back, the other has booked its corrections: what this one found of them would be booked twice.
  if (overtakenBy !== null) throw new OvertakenError(`Batch ${overtakenBy} was published after batch ${batch.batch} had begun. Drop this one, and run a new batch.`, details)
}

async function lockPointer(client: PoolClient): Promise<Pointer> {
  await client.query('SELECT FROM publish_pointer FOR UPDATE')
  return readPointer(client)
}

/** The batch lost the race to the pointer: it is history. */
export async function supersedeBatch(database: Database, batch: number, message: string): Promise<void> {
  await discardWork(database.pool, batch)
  await run(database.pool, `UPDATE batches SET status = 'superseded', finished_at = clock_timestamp(), message = $2 WHERE batch = $1 AND status IN ('running', 'held')`, [
    batch,
    message,
  ])
}

/** Keeps the batch, its stages and its differences for a person to decide. */
export async function holdBatch(database: Database, batch: number, eventsRead: number, eventsCounted: number, crossCheck: object, message: string): Promise<void> {
  await run(
    database.pool,
    `UPDATE batches SET status = 'held', finished_at = clock_timestamp(), events_read = $2, events_counted = $3, cross_check = $4, message = $5 WHERE batch = $1`,
    [batch, eventsRead, eventsCounted, JSON.stringify(crossCheck), message],
  )
}

export async function dropHeldBatch(database: Database, batch: number): Promise<void> {
  await inTransaction(database, {}, async (client) => {
    await lockPointer(client)
    const dropped = await client.query(`UPDATE batches SET status = 'dropped' WHERE batch = $1 AND status = 'held'`, [batch])
    if (dropped.rowCount !== 1) throw new InvalidRequestError(`Batch ${batch} is not held. "tidemark batch list" shows each batch's state.`)
    await dropStages(client, batch)
    await discardWork(client, batch)
  })
}

/** What a batch that is given up had made ready for its publication: its files are orphans from now on, and flushes go on. */
async function discardWork(queryable: Queryable, batch: number): Promise<void> {
  await undoSwitch(queryable, batch)
  await dropPendingFiles(queryable, batch)
  await dropStagedLogic(queryable, batch)
}

/** What a run took and what it read, for those who ask later. */
export async function noteRun(queryable: Queryable, batch: number, steps: Readonly<Record<string, number>>, inputs: BatchInputs | null): Promise<void> {
  await run(queryable, 'UPDATE batches SET steps = $2, inputs = coalesce($3, inputs) WHERE batch = $1', [batch, JSON.stringify(steps), inputs === null ? null : JSON.stringify(inputs)])
}

/** The stages of a held batch, for accepting it. */
export async function readStages(queryable: Queryable, batch: number): Promise<Map<string, number>> {
  const rows = await run<{ view: string; version: bigint }>(queryable, `SELECT view, version FROM batch_parts WHERE batch = $1 AND month = 'infinity'`, [batch])
  return new Map(rows.map((row) => [row.view, Number(row.version)]))
}

/**
 * Moves the pointer back to an earlier published batch that is still kept, and pauses publishing until a person resumes it. The merged figures stay as
 * they are: the epochs in between are still there, with their corrections. Resolves to the batch that serves now.
 */
export async function rollBack(database: Database, toBatch?: number): Promise<Batch> {
  return inTransaction(database, {}, async (client) => {
    const pointer = await lockPointer(client)
    // A person's acceptance aligned the live figures as a whole and not event by event, so nothing older may serve again.
    const kept = await run<BatchRow>(
      client,
      /* sql */ `
      SELECT ${batchColumns} FROM batches WHERE status = 'published' AND epoch < $1
        AND epoch >= coalesce((SELECT max(epoch) FROM batches WHERE status = 'published' AND cross_check->>'result' = 'accepted' AND epoch <= $1), 0)
      ORDER BY epoch DESC`,
      [pointer.epoch],
    )
    const row = toBatch === undefined ? kept[0] : kept.find((candidate) => Number(candidate.batch) === toBatch)
    if (row === undefined) {
      const choice = kept.length === 0 ? 'No earlier batch is kept.' : `Kept below it: ${kept.map((candidate) => candidate.batch).join(', ')}.`
      throw new InvalidRequestError(`There is no batch ${toBatch ?? 'before'} to roll back to from batch ${pointer.batch}. ${choice}`)
    }
    const target = asBatch(row)
    await client.query('UPDATE publish_pointer SET batch = $1, epoch = $2, moves = moves + 1, paused_reason = $3', [
      target.batch,
      target.epoch,
      `rolled back from batch ${pointer.batch} to ${target.batch}`,
    ])
    await recordMove(client)
    return target
  })
}

/** Lets publishing go on. Resolves to the reason why it was paused, or null. */
export async function resumePublishing(database: Database): Promise<string | null> {
  return inTransaction(database, {}, async (client) => {
    const pointer = await lockPointer(client)
    await client.query('UPDATE publish_pointer SET paused_reason = NULL')
    return pointer.pausedReason
  })
}
