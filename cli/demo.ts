/**
 * The demonstration shop: 13 months of history up to now, once, then live traffic. What was begun stands in a file of the data folder; after a crash
 * the same history is written again from the beginning, and the ledger takes its events for the copies they are.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EventLog } from '#core/ports.ts'
import { generateEvents } from '#generator/history.ts'
import { LiveShop } from '#generator/live.ts'
import { TidemarkError } from '#core/errors.ts'
import { appendHistory } from './commands/generate.ts'
import { transactionsTopic } from './environment.ts'
import { Progress, count } from './output.ts'
import { sleep } from './process-control.ts'
import type { Settings } from './settings.ts'

const seed = 20_240_101
const months = 13
const liveStepMs = 100
const retryMs = 1_000

type DemoState = { readonly fromMs: number; readonly toMs: number; readonly done: boolean }

function stateFile(settings: Settings): string {
  return join(settings.dataDirectory, 'demo.json')
}

function readState(settings: Settings): DemoState | null {
  const file = stateFile(settings)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as DemoState) : null
}

function writeState(settings: Settings, state: DemoState): void {
  writeFileSync(`${stateFile(settings)}.new`, JSON.stringify(state))
  renameSync(`${stateFile(settings)}.new`, stateFile(settings))
}

/** Whether history is still to be written: in an empty log, or where it was begun and not finished. */
export async function needsHistory(settings: Settings, log: EventLog): Promise<boolean> {
  const state = readState(settings)
  if (state !== null) return !state.done
  const { end } = await log.bounds(transactionsTopic)
  return [...end.values()].every((offset) => offset === 0)
}

/** Appends the history. Its log times are those at which a log would have taken it. */
export async function writeHistory(settings: Settings, log: EventLog, signal: AbortSignal, quiet: boolean): Promise<number> {
  const now = Date.now()
  const start = new Date(now)
  start.setUTCMonth(start.getUTCMonth() - months)
  const state = readState(settings) ?? { fromMs: start.getTime(), toMs: now, done: false }
  writeState(settings, state)
  const progress = new Progress(quiet)
  const { fromMs, toMs } = state
  const history = generateEvents({ profile: 'shop', seed, fromMs, toMs, zone: settings.zone, currency: settings.currency })
  const append = async (records: Parameters<EventLog['append']>[1]): Promise<void> => {
    await log.append(transactionsTopic, records)
  }
  const records = await appendHistory(history, append, signal, (appended) => {
    progress.show(`  history: ${count(appended)} records · ${count(Math.round(appended / progress.seconds))}/s`)
  })
  if (signal.aborted) return records
  writeState(settings, { ...state, done: true })
  progress.done(`  history: ${count(records)} records of ${months} months in ${progress.seconds.toFixed(1)} s`)
  return records
}

/** Live traffic until aborted. A log that is away for a moment misses that moment's customers, as a shop would. */
export async function runLiveTraffic(settings: Settings, log: EventLog, ratePerSecond: number, signal: AbortSignal, say: (line: string) => void): Promise<void> {
  const { zone, currency } = settings
  const shop = new LiveShop({ profile: 'shop', seed, ratePerSecond, zone, currency, startMs: Date.now() })
  let away = false
  while (!signal.aborted) {
    const due = shop.recordsUntil(Date.now())
    try {
      if (due.length > 0) await log.append(transactionsTopic, due.map((record) => record.append))
      if (away) say('The log is back; live traffic goes on.')
      away = false
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError && thrown.retryable)) throw thrown
      if (!away) say(`The log does not take live traffic now: ${thrown.message}`)
      away = true
      await sleep(retryMs, signal)
    }
    await sleep(liveStepMs, signal)
  }
}
