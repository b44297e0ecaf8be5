/** Rows S7 and S25 of the fault catalogue: what others run is away, or says nothing, and comes back. */
import { afterAll, beforeAll, beforeEach, describe, test } from 'vitest'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { KafkaLab } from './kafka-lab.ts'
import { openKafkaLab } from './kafka-lab.ts'
import { pausesWhileAway, silentBefore } from './outage-steps.ts'
import { isWhole, logSchemaOf } from './setup.ts'
import { swizzle, swizzledEngines } from './swizzle.ts'

const kafka = testEngine('kafka')
const timeout = isWhole ? 600_000 : 90_000

describe('on the PostgreSQL log', { timeout }, () => {
  let lab: Lab

  beforeAll(async () => {
    lab = await openLab()
  })
  afterAll(async () => lab[Symbol.asyncDispose]())
  beforeEach(async () => lab.clear())

  const openLog = async () => openPostgresLog({ connectionString: lab.url, schema: await logSchemaOf(lab), pollIntervalMs: 5 })

  test('S7 PostgreSQL refuses a worker and the API: no offset moves, little is held, partitions stay, 503 and no figures, then all is caught up', async () => pausesWhileAway(lab, openLog, 'refuse'))

  test('S7 PostgreSQL takes connections and never answers: the same', async () => pausesWhileAway(lab, openLog, 'clog'))

  test.each(['UPDATE committed_offsets', 'INSERT INTO ledger_pages', 'COPY live_', 'INSERT INTO product_names', 'COMMIT'])(
    'S7 a connection goes silent before "%s" of a flush: it is given up, and every event counts once',
    async (statement) => silentBefore(lab, statement),
  )
})

describe(`on a real Kafka${whereMissing('kafka')}`, { skip: kafka === null, timeout }, () => {
  let own: KafkaLab

  beforeAll(async () => {
    own = await openKafkaLab(kafka!)
  }, 60_000)
  afterAll(async () => own[Symbol.asyncDispose](), 60_000)
  beforeEach(async () => own.lab.clear())

  /** A fetch is one batch to a worker: small ones, so that a backlog is many. */
  const openLog = async () => own.open({ fetchBytesMax: 32 * 1024 })

  test('S7 PostgreSQL refuses a worker and the API: heartbeats go on, so the group sees no change, and the rest as on the other log', async () => pausesWhileAway(own.lab, openLog, 'refuse'))

  test('S7 PostgreSQL takes connections and never answers: heartbeats go on just so', async () => pausesWhileAway(own.lab, openLog, 'clog'))
})

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_007)
const rounds = isWhole ? 50 : 3

describe(`on all engines${whereMissing(...swizzledEngines)}`, { skip: swizzledEngines.some((name) => testEngine(name) === null), timeout: isWhole ? 3_600_000 : 300_000 }, () => {
  test(`S25 PostgreSQL, Elasticsearch, Kafka, Redis, HDFS and Trino clogged one by one and unclogged in random order, ${rounds} rounds (SEED=${seed}): every figure and document is exact`, async () => swizzle(rounds, seed))
})
