/** The live feed through a real socket. */
import { request } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventClientsMax } from '#serving/limits.ts'
import { LiveFeed } from '#serving/live-feed.ts'
import type { FeedMessage } from '#serving/live-feed.ts'
import type { RunningServer } from '#serving/start.ts'
import { startServing } from '#serving/start.ts'
import { waitUntil } from '#test/wait-until.ts'
import type { FilledStore } from './filled-store.ts'
import { openFilledStore } from './filled-store.ts'

const settings = { zone: 'Europe/London', currency: 'GBP', booksOpenOn: null, version: '1', ledgerIdsMax: 1000 }
const clock = () => Date.parse('2024-12-30T12:00:00Z')

type Heard = { readonly id: string | null; readonly event: string; readonly data: string }
type Listener = { readonly heard: Heard[]; readonly text: () => string; readonly response: IncomingMessage; readonly ended: () => boolean; leave(): void }

function listen(server: RunningServer): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const sent: ClientRequest = request(`${server.url}/v1/events`, { headers: { accept: 'text/event-stream' }, agent: false }, (response) => {
      let text = ''
      let ended = false
      const heard: Heard[] = []
      let rest = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        const blocks = (rest + chunk).split('\n\n')
        rest = blocks.pop()!
        for (const block of blocks) {
          const field = (name: string): string | null => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? null
          if (field('event') !== null) heard.push({ id: field('id'), event: field('event')!, data: field('data')! })
        }
      })
      const end = (): void => {
        ended = true
      }
      response.on('end', end).on('close', end).on('error', end)
      resolve({ heard, text: () => text, response, ended: () => ended, leave: () => sent.destroy() })
    })
    sent.on('error', reject).end()
  })
}

let store: FilledStore
let server: RunningServer
beforeAll(async () => {
  store = await openFilledStore('events')
  await store.live(1, [{ day: '2024-12-30', gross: '100' }])
  await store.position(0, 1, clock())
  server = await startServing({ database: store.database, settings, clock, port: 0, heartbeatMs: 40 })
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await store?.[Symbol.asyncDispose]()
})

async function sell(offset: number, grossMinor: string): Promise<void> {
  await store.live(offset, [{ day: '2024-12-30', gross: grossMinor }])
  await store.position(0, offset, clock())
}

test('figures come at once, again on every change, with heartbeats between, to all listeners alike', async () => {
  const first = await listen(server)
  expect(first.response.headers['content-type']).toBe('text/event-stream')
  expect(first.response.headers['content-security-policy']).toContain("default-src 'self'")
  await waitUntil('the first figures', () => first.heard.length > 0)
  expect(first.heard[0]).toMatchObject({ event: 'figures', id: '0.0:1' })
  const figures = JSON.parse(first.heard[0]!.data)
  expect(figures.today.total[0]).toMatchObject({ currency: 'GBP', net: '1.00' })
  expect(figures.today.revenueByCity[0]).toMatchObject({ city: 'London', net: '1.00' })
  expect(figures.top.season[0]).toMatchObject({ rank: 1, productId: '2001' })
  expect(figures.periods).toEqual({ day: '2024-12-30', month: '2024-12', season: '2024-winter' })
  const second = await listen(server)
  await waitUntil('the newest figures for who comes later', () => second.heard.length > 0)
  await sell(2, '1000')
  for (const listener of [first, second]) {
    const news = await waitUntil('the change', () => listener.heard.find((one) => one.id === '0.0:2'))
    expect(JSON.parse(news.data).today.total[0].net).toBe('11.00')
    await waitUntil('a heartbeat', () => listener.text().includes(': heartbeat'))
    listener.leave()
  }
})

test('a lost database is told, and its return too', async () => {
  const listener = await listen(server)
  await waitUntil('figures', () => listener.heard.length > 0)
  const before = listener.heard.length
  await store.sql('ALTER TABLE publish_pointer RENAME TO publish_pointer_lost')
  const trouble = await waitUntil('trouble', () => listener.heard.find((one) => one.event === 'trouble'))
  expect(JSON.parse(trouble.data)).toMatchObject({ code: 'unavailable', since: '2024-12-30T12:00:00.000Z' })
  await store.sql('ALTER TABLE publish_pointer_lost RENAME TO publish_pointer')
  await waitUntil('figures again', () => listener.heard.slice(before + 1).some((one) => one.event === 'figures'))
  expect(listener.heard.filter((one) => one.event === 'trouble').length).toBe(1)
  listener.leave()
})

test('close ends open listeners at once', async () => {
  const own = await startServing({ database: store.database, settings, clock, port: 0 })
  const listener = await listen(own)
  await waitUntil('figures', () => listener.heard.length > 0)
  const startMs = performance.now()
  await own[Symbol.asyncDispose]()
  expect(performance.now() - startMs).toBeLessThan(3_000)
  await waitUntil('the end', listener.ended)
})

describe('the feed', () => {
  const openFeed = (): LiveFeed => new LiveFeed({ database: store.database, terms: { ledgerIdsMax: 1 }, today: () => 20_087, clock, onTrouble: () => undefined })

  test('V5: has room for so many clients, and says where else to ask', () => {
    const feed = openFeed()
    for (let clients = 0; clients < eventClientsMax; clients++) feed.join(async () => undefined)
    expect(() => feed.join(async () => undefined)).toThrow(/clients already/)
    expect(feed.clients).toBe(eventClientsMax)
    feed.stop()
    expect(feed.clients).toBe(0)
  })

  test('V5: who reads slowly gets the newest figures next, never a queue', async () => {
    const feed = openFeed()
    const slow: FeedMessage[] = []
    const quick: FeedMessage[] = []
    let ready = (): void => undefined
    feed.join((message) => {
      slow.push(message)
      return new Promise((resolve) => (ready = resolve))
    })
    feed.join(async (message) => {
      quick.push(message)
    })
    await waitUntil('the first', () => slow.length === 1 && quick.length === 1)
    for (const offset of [31, 32, 33]) {
      await sell(offset, '1')
      await waitUntil(`offset ${offset}`, () => quick.some((message) => message.id === `0.0:${offset}`))
    }
    expect(slow.length).toBe(1)
    ready()
    await waitUntil('the newest', () => slow.length === 2)
    expect(slow[1]!.id).toBe('0.0:33')
    feed.stop()
  })
})
