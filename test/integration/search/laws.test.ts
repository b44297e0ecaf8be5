/** The search follower step by step, on an index in memory that fails on call: what it must keep whatever fails, and whatever commits in between. */
import fc from 'fast-check'
import type { PoolClient } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { UnavailableError } from '#core/errors.ts'
import { views } from '#core/views/all.ts'
import { acceptHeldBatch } from '#batch/run.ts'
import { readLakeRange } from '#batch/lake-range.ts'
import type { Refill } from '#speed/refill.ts'
import { SalesFollower } from '#speed/search-sales.ts'
import { filesOfRange } from '#store/register.ts'
import { readSalePositions } from '#store/search-sales.ts'
import { acceptLoss } from '#store/accept-loss.ts'
import { withLog } from '#test/faults/loss-steps.ts'
import { rollBack, resumePublishing } from '#store/batches.ts'
import { mergeLiveRows } from '#store/live-rows.ts'
import { pruneStore } from '#store/prune.ts'
import { verifySearch } from '#speed/search-verify.ts'
import { commitFlush } from '#store/flush.ts'
import { inTransaction } from '#store/database.ts'
import { readMoment, tryFollow } from '#store/search-follower.ts'
import { listIndices, listRejects, requestBuild } from '#store/search-indices.ts'
import { readSearchStatus } from '#store/search-status.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { seededRandom } from '#test/lab/random.ts'
import { openSession, plainSales, runBatchWith, sale } from '#test/faults/setup.ts'
import { MemorySearch } from '#test/lab/memory-search.ts'
import { SearchLab, documentsOf, expectSameFigures, expectSameSales } from '#test/lab/search.ts'
import { waitUntil } from '#test/wait-until.ts'

let lab: Lab
let search: MemorySearch
let follower: SearchLab
/** Ends what a test held open, if it has not. */
const held: (() => Promise<void>)[] = []

beforeAll(async () => {
  lab = await openLab()
}, 60_000)
beforeEach(async () => {
  await lab.clear()
  search = new MemorySearch()
  follower = new SearchLab(lab, search, 'mem')
})
afterEach(async () => {
  for (const end of held.splice(0)) await end()
  await follower.closeSales()
})
afterAll(async () => {
  await lab?.[Symbol.asyncDispose]()
})

async function count(partitions: readonly number[] = [0, 1, 2]): Promise<void> {
  const worker = await StepWorker.open(lab, partitions)
  await worker.readAll()
  await worker.flush()
}

/** A transaction that is open, with its number, until `end` is called. */
async function holdTransaction(): Promise<{ end(): Promise<void> } & AsyncDisposable> {
  const client: PoolClient = await lab.database.pool.connect()
  await client.query('BEGIN')
  await client.query('SET LOCAL idle_in_transaction_session_timeout = 0')
  await client.query('SELECT pg_current_xact_id()')
  let isOpen = true
  const end = async (): Promise<void> => {
    if (!isOpen) return
    isOpen = false
    await client.query('COMMIT')
    client.release()
  }
  held.push(end)
  return { end, [Symbol.asyncDispose]: end }
}

/** A flush of one partition that waits before its commit. Its products are nobody else's: the row of a product's name would make the others wait. */
async function holdFlush(partition: number): Promise<{ commit(): Promise<void> }> {
  const worker = await StepWorker.open(lab, [partition])
  await worker.readAll()
  let letGo = (): void => undefined
  const gate = new Promise<void>((resolve) => (letGo = resolve))
  let isHeld = (): void => undefined
  const isWaiting = new Promise<void>((resolve) => (isHeld = resolve))
  const committed = commitFlush(lab.database, worker.take(), {
    beforeCommit: async (client) => {
      await client.query('SET LOCAL idle_in_transaction_session_timeout = 0')
      isHeld()
      await gate
    },
  })
  await Promise.race([isWaiting, committed])
  const commit = async (): Promise<void> => {
    letGo()
    await committed
  }
  held.push(commit)
  return { commit }
}

async function position(): Promise<string> {
  return (await readMoment(lab.database.pool)).follower!.position
}

describe('transactions that commit out of order', () => {
  test('a flush that commits after a later one is not passed over, and the later one does not wait for it', async () => {
    await follower.followFigures()
    await lab.append([sale({ id: 'early', partition: 0 }), sale({ id: 'later', partition: 1, city: 'Leeds', product: 'P2' })])
    const early = await holdFlush(0)
    await count([1])
    const before = await position()
    await follower.followFigures()
    expect((await documentsOf(search, 'mem', 'revenue')).map(({ source }) => source['city'])).toEqual(['Leeds'])
    await expectSameFigures(follower)
    // What has not ended is not passed, however often it is looked at.
    const { now } = await readMoment(lab.database.pool)
    expect(BigInt(await position())).toBeLessThanOrEqual(BigInt(now.xmin))
    expect(BigInt(await position())).toBeGreaterThanOrEqual(BigInt(before))
    await early.commit()
    await follower.followFigures()
    await expectSameFigures(follower)
    expect(await documentsOf(search, 'mem', 'revenue')).toHaveLength(2)
  })

  test('nor where both change one cell, and their rows are merged before the follower looks', async () => {
    await follower.followFigures()
    await lab.append([sale({ id: 'early', partition: 0 }), sale({ id: 'later', partition: 1, product: 'P2' })])
    const early = await holdFlush(0)
    await count([1])
    await follower.followFigures()
    await early.commit()
    expect(await mergeLiveRows(lab.database, { rowsMin: 1 })).toBeGreaterThan(0)
    await follower.followFigures()
    await expectSameFigures(follower)
  })

  test('nor one that is merged with older rows before the follower looks', async () => {
    await lab.append([sale({ id: 'old' })])
    await count()
    await follower.followFigures()
    await lab.append([sale({ id: 'new' })])
    await count()
    expect(await mergeLiveRows(lab.database, { rowsMin: 1 })).toBeGreaterThan(0)
    while ((await mergeLiveRows(lab.database, { rowsMin: 1 })) > 0);
    await follower.followFigures()
    await expectSameFigures(follower)
  })

  test('nor where the follower is killed between the two', async () => {
    await follower.followFigures()
    await lab.append([sale({ id: 'early', partition: 0 }), sale({ id: 'later', partition: 1, product: 'P2' })])
    const early = await holdFlush(0)
    await count([1])
    await follower.followFigures()
    await follower.crash()
    await early.commit()
    await follower.crash()
    await follower.followFigures()
    await expectSameFigures(follower)
  })

  test('a long transaction of somebody else holds no document back, and nothing is sent twice for it but once', async () => {
    await follower.followFigures()
    await using long = await holdTransaction()
    for (let n = 0; n < 4; n++) {
      await lab.append([sale({ id: `s${n}`, day: `2025-03-0${n + 1}` })])
      await count()
      await follower.followFigures()
      await expectSameFigures(follower)
    }
    const sent = search.puts
    await follower.followFigures()
    expect(search.puts).toBe(sent)
    await long.end()
    await follower.followFigures()
    // Once more, now that all of it is complete: four views.
    expect(search.puts).toBe(sent + 4)
    await follower.followFigures()
    expect(search.puts).toBe(sent + 4)
  })
})

describe('whatever fails', () => {
  beforeEach(async () => {
    await lab.append(plainSales(lab, 30, 'a'))
    await count()
    await follower.followFigures()
    await lab.append(plainSales(lab, 20, 'b'))
    await count()
  })

  test.each(['before', 'half', 'after'] as const)('a put that fails %s is repeated', async (fault) => {
    let left = 3
    search.fault = () => (left-- > 0 ? fault : 'none')
    for (let tries = 0; tries < 3; tries++) await expect(follower.figures.step()).rejects.toBeInstanceOf(UnavailableError)
    await follower.followFigures()
    await expectSameFigures(follower)
  })

  test('the read number is committed before anything is sent: a kill between the two leaves a number that is never given again', async () => {
    const numbers: number[] = []
    const dying = new SearchLab(lab, search, 'mem', {
      faults: {
        beforeSend: async () => {
          const { rows } = await lab.database.pool.query<{ read_number: bigint }>('SELECT read_number FROM search_followers')
          numbers.push(Number(rows[0]!.read_number))
          throw new UnavailableError('killed')
        },
      },
    })
    const puts = search.puts
    await expect(dying.figures.step()).rejects.toThrow('killed')
    expect(search.puts).toBe(puts)
    await follower.crash()
    await follower.followFigures()
    const versions = (await documentsOf(search, 'mem', 'revenue')).map(({ version }) => version)
    expect(numbers).toHaveLength(1)
    expect(versions).not.toContain(numbers[0])
    expect(Math.max(...versions)).toBeGreaterThan(numbers[0]!)
    await expectSameFigures(follower)
  })

  test('a kill after all is sent and before the position moves is a repeat', async () => {
    const dying = new SearchLab(lab, search, 'mem', { faults: { beforeMove: () => Promise.reject(new UnavailableError('killed')) } })
    await expect(dying.figures.step()).rejects.toThrow('killed')
    await expectSameFigures(follower)
    await follower.crash()
    await follower.followFigures()
    await expectSameFigures(follower)
  })

  test('a document never goes back: what an old reading sends after a newer one changes nothing', async () => {
    let letGo = (): void => undefined
    const gate = new Promise<void>((resolve) => (letGo = resolve))
    let isHeld = (): void => undefined
    const isWaiting = new Promise<void>((resolve) => (isHeld = resolve))
    const stopped = new SearchLab(lab, search, 'mem', {
      faults: {
        beforeSend: async () => {
          isHeld()
          await gate
        },
      },
    })
    const slow = stopped.figures.step()
    await isWaiting
    await lab.append(plainSales(lab, 20, 'c'))
    await count()
    await follower.followFigures()
    await expectSameFigures(follower)
    letGo()
    await slow
    await expectSameFigures(follower)
    await follower.followFigures()
    await expectSameFigures(follower)
  })

  test('two followers at once send the same, and one of them waits', async () => {
    const other = new SearchLab(lab, search, 'mem')
    await Promise.all([follower.followFigures(), other.followFigures()])
    await expectSameFigures(follower)
    await using first = await tryFollow(lab.database)
    expect(first).not.toBeNull()
    expect(await tryFollow(lab.database)).toBeNull()
  })

  test('documents that are refused for good are kept and named, the others go on; one that is taken later is forgotten', async () => {
    search.refuses = ({ body }) => body?.includes('"city":"Leeds"') === true
    await follower.followFigures()
    const rejects = await listRejects(lab.database.pool, 100)
    expect(rejects.length).toBeGreaterThan(0)
    expect(rejects[0]).toMatchObject({ reason: 'refused by the test' })
    expect(follower.warnings.join()).toMatch(/refused documents for good/)
    expect((await readSearchStatus(lab.database.pool))!.rejects).toBe(rejects.length)
    search.refuses = () => false
    for (const kind of ['revenue', 'product_city_sales'] as const) await requestBuild(lab.database, 'mem', kind)
    await follower.followFigures()
    await expectSameFigures(follower)
    expect(await listRejects(lab.database.pool, 100)).toEqual([])
  })
})

describe('batches', () => {
  test('a publication with corrections reaches the documents of cells that lost their only event', async () => {
    // Two workers count two copies of one event; the batch takes one away. The copy has another city: a conflict, alone in its cell.
    await lab.append([sale({ id: 'x', partition: 0, city: 'London' }), sale({ id: 'x', partition: 1, city: 'Leeds' }), ...plainSales(lab, 10, 'a')])
    await count([0])
    await count([1])
    await count([2])
    await follower.followAll()
    expect((await documentsOf(search, 'mem', 'revenue')).some(({ source }) => source['city'] === 'Leeds' && source['localDay'] === '2025-03-01')).toBe(true)
    expect(await documentsOf(search, 'mem', 'sales')).toHaveLength(11)
    const { batch } = await runBatchWith(lab)
    expect(Number((await lab.database.pool.query<{ n: bigint }>('SELECT count(*) AS n FROM correction_events')).rows[0]!.n)).toBeGreaterThan(0)
    await follower.followAll()
    await expectSameFigures(follower)
    await expectSameSales(follower)
    const x = (await documentsOf(search, 'mem', 'sales')).filter(({ source }) => source['eventId'] === 'x')
    expect(x.map(({ source, version }) => [source['city'], version])).toEqual([['London', batch.batch + 1]])
    await rollBack(lab.database)
    await follower.followAll()
    await expectSameFigures(follower)
    await expectSameSales(follower)
    expect(follower.warnings).toEqual([])
  })

  test('a held batch that is accepted reaches them', async () => {
    await lab.append(plainSales(lab, 12, 'a'))
    await count()
    await follower.followFigures()
    // Figures that no event explains.
    await lab.database.pool.query(`UPDATE live_revenue SET gross_minor = gross_minor + 1000 WHERE city = 'Leeds'`)
    await expect(runBatchWith(lab)).rejects.toThrow(/held/)
    await acceptHeldBatch(lab.database, 1)
    await follower.followFigures()
    const { rows } = await lab.database.pool.query<{ gross: bigint }>('SELECT sum(gross_minor)::bigint AS gross FROM merged_revenue')
    const documents = await documentsOf(search, 'mem', 'revenue')
    expect(documents.reduce((sum, { source }) => sum + BigInt(source['grossMinor'] as number), 0n)).toBe(rows[0]!.gross)
    await expectSameFigures(follower)
  })

  test('pruning what was not sent yet makes its months due', async () => {
    await follower.followFigures()
    await lab.append(plainSales(lab, 24, 'a'))
    await count()
    search.fault = () => 'before'
    await expect(follower.figures.step()).rejects.toBeInstanceOf(UnavailableError)
    for (let batch = 0; batch < 2; batch++) {
      await runBatchWith(lab)
      await lab.append([sale({ id: `z${batch}` })])
      await count()
    }
    await runBatchWith(lab)
    await pruneStore(lab.database, 1, 100_000)
    expect((await lab.database.pool.query('SELECT FROM live_revenue')).rowCount).toBe(0)
    search.fault = () => 'none'
    await follower.followFigures()
    await expectSameFigures(follower)
    // By what pruning noted, and not by the sums that would show it later.
    expect(follower.warnings).toEqual([])
  })

  test('months that differ after the pointer moved are found and sent again, strays and all, and it is said', async () => {
    await lab.append(plainSales(lab, 24, 'a'))
    await count()
    await follower.followFigures()
    const [index] = (await listIndices(lab.database.pool)).filter((row) => row.kind === 'revenue')
    const stored = search.indices.get(index!.name)!
    const [gone, changed] = [...stored.keys()]
    stored.delete(gone!)
    stored.set(changed!, { ...stored.get(changed!)!, body: stored.get(changed!)!.body!.replace(/"grossMinor":\d+/, '"grossMinor":1') })
    stored.set('2025-02-02|Nowhere|Home|GBP', { version: 1, body: '{"localDay":"2025-02-02","city":"Nowhere","category":"Home","currency":"GBP","transactions":1,"orders":1,"refundEvents":0,"unitsSold":1,"unitsRefunded":0,"grossMinor":5,"refundsMinor":0,"netMinor":5,"readNumber":1}' })
    await runBatchWith(lab)
    await follower.followFigures()
    await expect(expectSameFigures(follower)).resolves.toBeUndefined()
    expect(follower.warnings.join()).toMatch(/differ from the figures/)
    expect((await readSearchStatus(lab.database.pool))!.monthsResent).toBeGreaterThan(0)
  })
})

describe('indices', () => {
  beforeEach(async () => {
    await lab.append(plainSales(lab, 40, 'a'))
    await count()
    await runBatchWith(lab)
    await lab.append(plainSales(lab, 20, 'b'))
    await count()
    await follower.followAll()
  })

  test('one that is built anew takes the alias only when it is whole, and changes meanwhile reach both', async () => {
    const small = new SearchLab(lab, search, 'mem', { cellsMax: 3 })
    const [before] = await search.pointed('mem-revenue')
    expect(await requestBuild(lab.database, 'mem', 'revenue')).toBe(true)
    expect(await requestBuild(lab.database, 'mem', 'revenue')).toBe(false)
    let steps = 0
    while ((await search.pointed('mem-revenue'))[0] === before) {
      await lab.append([sale({ id: `live-${steps}`, city: steps % 2 === 0 ? 'London' : 'Leeds', day: `2025-0${1 + (steps % 5)}-11` })])
      await count()
      await small.figures.step()
      if ((await search.pointed('mem-revenue'))[0] === before) await expectSameFigures(small)
      if (++steps > 500) throw new Error('the index is never whole')
    }
    expect(steps).toBeGreaterThan(5)
    await small.followFigures()
    await expectSameFigures(small)
    expect(search.indices.has(before!)).toBe(false)
  })

  test('a build goes on after a kill', async () => {
    const small = new SearchLab(lab, search, 'mem', { cellsMax: 3 })
    await requestBuild(lab.database, 'mem', 'product_sales')
    for (let steps = 0; steps < 5; steps++) await small.figures.step()
    await small.crash()
    await small.followFigures()
    await expectSameFigures(small)
    expect(await search.pointed('mem-product_sales')).toEqual([expect.stringMatching(/-2$/)])
  })

  test('a sales index that is built anew serves when all of the log is in', async () => {
    const [before] = await search.pointed('mem-sales')
    await requestBuild(lab.database, 'mem', 'sales')
    await follower.followAll()
    expect(await search.pointed('mem-sales')).not.toContain(before)
    await expectSameSales(follower)
    expect(search.indices.has(before!)).toBe(false)
  })

  test('another cluster under the store (its transaction numbers mean nothing) begins anew', async () => {
    await lab.database.pool.query(`UPDATE search_followers SET system_identifier = '1', position_xid = '9000000000'`)
    await follower.followAll()
    await expectSameFigures(follower)
    await expectSameSales(follower)
  })

  test('a younger cluster that the store came to by a dump sends what it has once, and takes the corrections of before over', async () => {
    await lab.append([sale({ id: 'x', partition: 0, city: 'London' }), sale({ id: 'x', partition: 1, city: 'Leeds' })])
    await count([0])
    await count([1])
    const { batch } = await runBatchWith(lab)
    await lab.append(plainSales(lab, 10, 'c'))
    await count()
    await follower.followAll()
    // Numbers of the other cluster, which this one has not reached.
    const tables = [...views.flatMap((view) => [`live_${view.name}`, `correction_${view.name}`]), 'live_runs', 'correction_events']
    for (const table of tables) expect((await lab.database.pool.query(`UPDATE ${table} SET xid = '9000000000'`)).rowCount, table).toBeGreaterThan(0)
    await lab.database.pool.query(`UPDATE search_followers SET system_identifier = '1', position_xid = '9000000001'`)
    await follower.crash()
    let steps = 0
    while (await follower.figures.step()) expect(++steps, 'steps until nothing is left to send').toBeLessThan(100)
    const sent = search.puts
    expect(await follower.figures.step()).toBe(false)
    expect(search.puts).toBe(sent)
    await follower.followAll()
    await expectSameFigures(follower)
    await expectSameSales(follower)
    const x = (await documentsOf(search, 'mem', 'sales')).filter(({ source }) => source['eventId'] === 'x')
    expect(x.map(({ source, version }) => [source['city'], version])).toEqual([['London', batch.batch + 1]])
  })

  test('months of the sales beyond their time are dropped, and events of them are not indexed', async () => {
    const short = new SearchLab(lab, search, 'mem', { keepMonths: 3, nowMs: () => Date.UTC(2025, 3, 15) })
    await short.followAll()
    expect((await search.pointed('mem-sales')).map((name) => name.slice(-7))).toEqual(['2025.02', '2025.03', '2025.04'])
    await lab.append([sale({ id: 'old', day: '2024-01-01' })])
    await count()
    await short.followAll()
    expect((await documentsOf(search, 'mem', 'sales')).some(({ source }) => source['eventId'] === 'old')).toBe(false)
    await short.closeSales()
  })

  test('a verification finds what differs, to one penny, and a missing document', async () => {
    const options = { database: lab.database, search, prefix: 'mem', signal: new AbortController().signal, salesFrom: '2000-01-01', patienceMs: 0 }
    expect(await verifySearch(options)).toMatchObject({ differences: 0, unsettled: 0, missing: [], sales: { differingMonths: [] } })
    const [index] = await search.pointed('mem-pace')
    const stored = search.indices.get(index!)!
    const [gone, changed] = [...stored.keys()]
    stored.delete(gone!)
    const { version, body } = stored.get(changed!)!
    stored.set(changed!, { version, body: body!.replace(/"grossMinor":(\d+)/, (_, digits: string) => `"grossMinor":${Number(digits) + 1}`) })
    const found = await verifySearch(options)
    expect(found.differences).toBe(2)
    expect(new Set(found.listed.map(({ id }) => id))).toEqual(new Set([gone, changed]))
  })
})

test('never ahead of the database: a sale is in no document before it is counted', async () => {
  await count()
  await follower.followAll()
  await lab.append(plainSales(lab, 9, 'a'))
  await follower.followAll()
  expect(await documentsOf(search, 'mem', 'sales')).toEqual([])
  await count([0])
  await follower.followAll()
  expect(await documentsOf(search, 'mem', 'sales')).toHaveLength(3)
  await count()
  await follower.followAll()
  await expectSameSales(follower)
})

describe('sales that the log has forgotten', () => {
  const refill: Refill = async (topic, partition, from, to) => readLakeRange({ queryable: lab.database.pool, lake: lab.lake, engine: lab.engine }, topic, partition, from, to)
  const forgetBelow = async (below: number): Promise<void> => {
    await lab.log.prune(lab.topic, new Map([0, 1, 2].map((partition) => [partition, below])), Date.now() + 3_600_000)
    expect((await lab.log.bounds(lab.topic)).first.get(1)).toBe(below)
  }
  const idsOf = async (): Promise<string[]> => [...new Set((await documentsOf(search, 'mem', 'sales')).map(({ source }) => (source['eventId'] as string).split('-')[0]!))].sort()

  beforeEach(async () => {
    for (const prefix of ['a', 'b', 'c', 'd', 'e']) {
      await lab.append(plainSales(lab, 12, prefix))
      await count()
      if (prefix !== 'e') await runBatchWith(lab)
    }
  })

  test.each([
    { without: 'its end', gone: ['d'], left: ['a', 'b', 'c', 'e'], ranges: ['12-16'] },
    { without: 'its beginning and a middle', gone: ['a', 'c'], left: ['b', 'd', 'e'], ranges: ['0-4', '8-12'] },
  ])('of a lake that holds a part of them, without $without, that part is indexed and the rest is named', async ({ gone, left, ranges }) => {
    const files = await filesOfRange(lab.database.pool, lab.topic, 1, 0, 1_000)
    expect(files.map(({ fromOffset, toOffset }) => [fromOffset, toOffset])).toEqual([[0, 4], [4, 8], [8, 12], [12, 16]])
    for (const name of gone) {
      const from = ['a', 'b', 'c', 'd'].indexOf(name) * 4
      for (const partition of [0, 1, 2]) for (const { path } of await filesOfRange(lab.database.pool, lab.topic, partition, from, from + 4)) await lab.lake.remove(path)
    }
    await forgetBelow(16)
    follower = new SearchLab(lab, search, 'mem', { refill })
    await follower.followAll()
    expect(await idsOf()).toEqual(left)
    expect(await documentsOf(search, 'mem', 'sales')).toHaveLength(12 * left.length)
    for (const partition of [0, 1, 2]) {
      expect(follower.warnings.filter((text) => text.includes(`of partition ${partition} `))).toEqual(ranges.map((range) => expect.stringContaining(`holds ${range} of`)))
    }
  })

  test('a stop does not wait for all of them', async () => {
    await forgetBelow(16)
    await follower.followFigures()
    const stop = new AbortController()
    let batches = 0
    const stopping: Refill = async (...range) => {
      const read = await refill(...range)
      return (async function* () {
        for await (const batch of read!) {
          batches++
          yield batch
          stop.abort()
        }
      })()
    }
    const [family] = (await listIndices(lab.database.pool)).filter((row) => row.kind === 'sales')
    await using sales = new SalesFollower({ ...follower.options, refill: stopping }, family!, stop.signal)
    await sales.step()
    expect(stop.signal.aborted).toBe(true)
    expect(batches).toBe(2)
    // What was read before is kept.
    const positions = await readSalePositions(lab.database.pool, family!.name, lab.topic)
    expect([...positions.values()].sort((a, b) => a - b)).toEqual([0, 0, 4])
  })
})

describe('losses that a person accepted', () => {
  /** Its log reads what was given up as empty. */
  let store: Lab
  const never = new AbortController().signal

  beforeEach(async () => {
    store = withLog(lab, lab.log)
    follower = new SearchLab(store, search, 'mem')
    await lab.append(plainSales(lab, 12, 'a'))
    await count()
    await runBatchWith(store)
  })

  async function loseAndAccept(to: number): Promise<void> {
    await lab.log.prune(lab.topic, new Map([[1, to]]), Date.now() + 3_600_000)
    expect(await acceptLoss(lab.database, store.log, { topic: lab.topic, partition: 1, from: 4, to }, never)).toMatchObject({ what: 'gap' })
    const { crossCheck } = await runBatchWith(store)
    expect(crossCheck.summary.correctionsByReason['lost']).toBeGreaterThan(0)
  }

  test('take their documents away, when a batch takes their events out of the figures', async () => {
    await lab.append(plainSales(lab, 12, 'b'))
    await count()
    await follower.followAll()
    expect(await documentsOf(search, 'mem', 'sales')).toHaveLength(24)
    await loseAndAccept(8)
    await follower.followAll()
    const documents = await documentsOf(search, 'mem', 'sales')
    expect(documents).toHaveLength(20)
    expect(documents.filter(({ source }) => source['partition'] === 1 && (source['offset'] as number) >= 4)).toEqual([])
    await expectSameFigures(follower)
    await expectSameSales(follower)
    // Nor does a new family bring them back, with the log's records of before gone.
    const refill: Refill = async (topic, partition, from, to) => readLakeRange({ queryable: lab.database.pool, lake: lab.lake, engine: lab.engine }, topic, partition, from, to)
    await follower.closeSales()
    follower = new SearchLab(store, search, 'mem', { refill })
    await requestBuild(lab.database, 'mem', 'sales')
    await follower.followAll()
    await expectSameSales(follower)
  })

  test('keep the document of an event whose other copy counts in its place', async () => {
    // Counted in partition 1, copied in partition 2 by the same worker: with the first gone the copy counts.
    await lab.append([sale({ id: 'x', partition: 1 }), ...plainSales(lab, 12, 'b')])
    await count()
    await lab.append([sale({ id: 'x', partition: 2 }), sale({ id: 'x', partition: 1 }), sale({ id: 'y', partition: 2 })])
    await count()
    await follower.followAll()
    expect(await documentsOf(search, 'mem', 'sales')).toHaveLength(26)
    await loseAndAccept(9)
    await follower.followAll()
    await expectSameFigures(follower)
    await expectSameSales(follower)
  })
})

test('a session that is lost is noticed, and another takes over', async () => {
  await using first = await tryFollow(lab.database)
  await using session = await openSession(lab)
  await session.query(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 8 AND pid <> pg_backend_pid() AND classid = hashtext('${lab.database.schema}')::bigint & 4294967295`)
  await expect.poll(() => first!.lost.aborted, { timeout: 10_000 }).toBe(true)
  // The server tells the session first, and gives its lock back after that.
  await using _second = await waitUntil('another to take over', () => tryFollow(lab.database))
})

const steps = ['sales', 'copies', 'flush', 'merge', 'follow', 'fail', 'crash', 'batch', 'roll back', 'prune', 'rebuild', 'early flush', 'late commit'] as const

test('whatever happens in whatever order, the documents end as the figures', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...steps), { minLength: 8, maxLength: 24 }), fc.integer({ min: 1, max: 1_000_000 }), async (order, seed) => {
      await follower.closeSales()
      await lab.clear()
      search = new MemorySearch()
      const random = seededRandom(seed)
      follower = new SearchLab(lab, search, 'mem', { cellsMax: 7 })
      let early: Awaited<ReturnType<typeof holdFlush>> | null = null
      let sold = 0
      const ids: string[] = []
      for (const step of order) {
        if (step === 'sales') {
          const some = plainSales(lab, 6, `s${sold++}`)
          ids.push(...some.map((_, n) => `s${sold - 1}-${n}`))
          await lab.append(some)
        } else if (step === 'copies' && ids.length > 0) await lab.append([sale({ id: random.pick(ids), partition: 2, day: '2025-02-10', city: 'Zürich' })])
        else if (step === 'flush') await count(early === null ? [0, 1, 2] : [1, 2])
        else if (step === 'merge') await mergeLiveRows(lab.database, { rowsMin: 1 })
        else if (step === 'follow') await follower.figures.step()
        else if (step === 'fail') {
          let left = 1
          search.fault = () => (left-- > 0 ? random.pick(['before', 'half', 'after'] as const) : 'none')
          await follower.figures.step().catch(() => undefined)
          search.fault = () => 'none'
        } else if (step === 'crash') await follower.crash()
        else if (step === 'batch' && early === null) {
          await resumePublishing(lab.database)
          await runBatchWith(lab)
        } else if (step === 'roll back') await rollBack(lab.database).catch(() => undefined)
        else if (step === 'prune') await pruneStore(lab.database, 1, 100_000)
        else if (step === 'rebuild') await requestBuild(lab.database, 'mem', random.pick(['revenue', 'product_sales', 'product_city_sales', 'pace', 'sales'] as const))
        else if (step === 'early flush' && early === null) {
          await count()
          await lab.append([sale({ id: `h${sold}`, product: `H${sold}` }), sale({ id: `i${sold}`, product: `H${sold++}`, day: '2025-02-11', city: 'Leeds' })])
          early = await holdFlush(0)
        } else if (step === 'late commit' && early !== null) {
          await early.commit()
          early = null
        }
      }
      await early?.commit()
      await count()
      await follower.followAll()
      await expectSameFigures(follower)
      expect(follower.warnings).toEqual([])
    }),
    { numRuns: 12, endOnFailure: true },
  )
}, 240_000)

test('a reading that runs while the row is locked waits, and reads after it', async () => {
  await follower.followFigures()
  await inTransaction(lab.database, {}, async (client) => {
    await client.query('SELECT FROM search_followers FOR UPDATE')
    await lab.append([sale({ id: 'x' })])
    await count()
    const step = follower.figures.step()
    // Not before the lock is gone.
    expect(await Promise.race([step.then(() => 'done'), new Promise((resolve) => setImmediate(() => resolve('waiting')))])).toBe('waiting')
    void step
  })
  await follower.followFigures()
  await expectSameFigures(follower)
})
