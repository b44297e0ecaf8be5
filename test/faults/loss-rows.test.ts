/** Rows S9 and S14 to S16 of the fault catalogue: ranges of the log that are gone, topics that were made anew, a database that was put back. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EventLog } from '#core/ports.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { keepIncarnation, readIncarnation } from '#store/incarnation.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { LossStage } from './loss-steps.ts'
import { fillFromHalfALake, fillFromLake, makeTopicAnew, putDatabaseBack, stopAtGap, takeOutCounted, withLog } from './loss-steps.ts'
import { logSchemaOf } from './setup.ts'

let plain: Lab
let stage: LossStage

beforeAll(async () => {
  plain = await openLab()
})
afterAll(() => plain[Symbol.asyncDispose]())
beforeEach(async () => {
  await plain.clear()
  const forgetBelow = (topic: string, partition: number, below: number): Promise<void> => plain.log.prune(topic, new Map([[partition, below]]), Date.now() + 3_600_000)
  stage = { plain, lab: withLog(plain, plain.log), forgetBelow, makeAnew }
})

/** Adapters know topics by their number. */
async function makeAnew(): Promise<EventLog> {
  const schema = await logSchemaOf(plain)
  await plain.database.pool.query(`UPDATE ${schema}.topics SET name = name || '-before' WHERE name = $1`, [plain.topic])
  const log = await openPostgresLog({ connectionString: plain.url, schema, pollIntervalMs: 5 })
  await log.create(plain.topic, plain.partitions)
  return log
}

describe('S15 retention passes what was never counted nor archived', () => {
  test('the partition stops, answers name the range, and giving it up lets it go on', async () => stopAtGap(stage))

  test('what had been counted and not archived is taken out by the next batch, to the penny', async () => takeOutCounted(stage))
})

describe('S16 the topic is made anew', () => {
  test('nothing is added or taken until it is given up; then the new one is counted from its beginning, and copies in it are copies', async () => makeTopicAnew(stage))
})

describe('a database that was put back', () => {
  test('S9 an hour ago, while the log and the lake went on: figures go back with their positions, and all is right again by itself', async () => putDatabaseBack(stage))

  test('S14 the log has forgotten what it counted since, and the lake has it: it is filled from there', async () => fillFromLake(stage))

  test('S14 the lake has only a part of it: the partition stops rather than leave a hole', async () => fillFromHalfALake(stage))

  test('a mark of another process in between is no sign of a database that was put back', async () => {
    const before = await readIncarnation(plain.database.pool)
    await Promise.all(Array.from({ length: 8 }, () => keepIncarnation(plain.database, plain.lake)))
    expect(await readIncarnation(plain.database.pool)).toBe(before)
  })
})
