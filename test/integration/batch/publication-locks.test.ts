/** A publication beside flushes: both lock the rows of the partitions in one order, so that neither is ended as the other's deadlock. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { waitUntil } from '#test/wait-until.ts'
import { openSession } from '../../faults/setup.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())

async function count(partition: number): Promise<void> {
  const worker = await StepWorker.open(lab, [partition])
  await worker.readAll()
  await worker.flush()
}

test('corrections of several partitions wait at the lowest, and hold none above it', async () => {
  await lab.append([sale({ id: 'x' }), sale({ id: 'y' }), sale({ id: 'x', partition: 1 }), sale({ id: 'y', partition: 2 })])
  // Each worker knows its own partition. The row of partition 1 comes to lie behind that of partition 2.
  for (const partition of [0, 2, 1]) await count(partition)
  await using flush = await openSession(lab)
  const lock = (partition: number): Promise<unknown> => flush.query('SELECT FROM committed_offsets WHERE topic = $1 AND partition = $2 FOR UPDATE NOWAIT', [lab.topic, partition])
  const { rows } = await flush.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  await flush.query('BEGIN')
  await lock(1)
  const batch = runLabBatch(lab)
  try {
    await waitUntil('the publication to wait for the row', async () => (await lab.database.pool.query('SELECT FROM pg_stat_activity WHERE pg_blocking_pids(pid) @> ARRAY[$1::int]', [rows[0]!.pid])).rowCount === 1)
    await lock(2)
  } finally {
    await flush.query('ROLLBACK')
    await batch
  }
  expect((await batch).crossCheck.summary.correctionsByReason).toEqual({ copy: 2 })
  await checkExact(lab)
})
