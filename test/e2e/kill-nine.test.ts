/**
 * A shop under load loses processes to `kill -9` at random moments: one layer, everything of ours, its PostgreSQL, or all of them. It is started again as a
 * person would start it, and nothing else is done. Afterwards the merged figures are the truth of what the log acknowledged, to the penny.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { freePort } from '#test/free-port.ts'
import { seededRandom } from '#test/lab/random.ts'
import { EmbeddedLog } from './embedded-log.ts'
import { KilledShop, victims } from './killed-shop.ts'
import { StubbornProducer } from './stubborn-producer.ts'

const kills = 20
const seed = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const verifyEvery = 5

test(`kill -9 at random moments under load, ${kills} times: verify finds no difference and no hand was needed`, { timeout: kills * 60_000 }, async () => {
  process.stdout.write(`kill -9: KILL_SEED=${seed}\n`)
  const data = await mkdtemp(join(tmpdir(), 'tidemark-kill-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(data, { recursive: true, force: true, maxRetries: 5 }))
  const shop = new KilledShop(data, await freePort(), seededRandom(seed))
  stack.use(shop)
  await shop.start()
  const log = new EmbeddedLog(await shop.databaseUrl(), () => shop.databasePort())
  stack.use(log)
  const producer = new StubbornProducer(seed, () => log.open())
  stack.use(producer)
  producer.run()
  await shop.whenBack(producer)
  for (let kill = 0; kill < kills; kill++) {
    // Each kind at least once, then any.
    const victim = kill < victims.length ? victims[(kill + seed) % victims.length]! : shop.random.pick(victims)
    if (victim === 'batch' || shop.random.chance(0.6)) shop.startBatch()
    // A random moment is what this is about.
    await pause(shop.random.below(1_500))
    const killed = await shop.kill(victim)
    expect(killed).toBeGreaterThan(0)
    const killedAt = performance.now()
    await shop.whenBack(producer)
    process.stdout.write(`kill -9 ${kill + 1}: ${victim}, ${killed} processes; counting again after ${Math.round(performance.now() - killedAt)} ms\n`)
    if (kill % verifyEvery === verifyEvery - 1) {
      await producer.hold()
      await shop.verify(producer)
      producer.run()
    }
  }
  await producer.hold()
  await shop.verify(producer)
  await shop.runBatch()
  await shop.verify(producer)
  expect(producer.failure).toBeNull()
  expect(await shop.stop()).toEqual({ code: 0, signal: null })
})
