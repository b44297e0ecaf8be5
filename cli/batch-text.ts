/** A batch as people read it: what it covers, what it read, how long each step took, how it was checked, and, where it is held, why and what may be done. */
import type { CrossCheckSummary } from '#batch/cross-check.ts'
import type { Redecoded } from '#batch/redecode.ts'
import type { BatchStep } from '#batch/run.ts'
import { views } from '#core/views/all.ts'
import { measures } from '#core/views/measures.ts'
import type { Batch } from '#store/batches.ts'
import type { HorizonEntry } from '#store/epochs.ts'
import { count } from './output.ts'

const listedMax = 20
/** The database keeps no order of names. `switch` is how long counting waited: it holds what follows it. */
const stepOrder: readonly BatchStep[] = ['cut', 'archive', 'redecode', 'recompute', 'switch', 'cross-check', 'combine', 'publish']

export type ShownBatch = { readonly batch: Batch; readonly horizon: readonly HorizonEntry[]; readonly isServing: boolean }

/** Seconds, or minutes and seconds. */
export function durationText(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** Null while it runs. */
export function durationMsOf({ startedAt, finishedAt }: Batch): number | null {
  return finishedAt === null ? null : finishedAt.getTime() - startedAt.getTime()
}

export function batchLines({ batch, horizon, isServing }: ShownBatch): string[] {
  const check = batch.crossCheck as (Partial<CrossCheckSummary> & { readonly redecoded?: Redecoded }) | null
  const durationMs = durationMsOf(batch)
  const lines = [
    `Batch ${batch.batch} is ${batch.status}${isServing ? ' and serves' : ''}: ${batch.kind}, on top of batch ${batch.baseBatch ?? '-'}`,
    `  began        ${timeText(batch.startedAt)}${durationMs === null ? '' : `, took ${durationText(durationMs)}`}${batch.publishedAt === null ? '' : `, published ${timeText(batch.publishedAt)}`}`,
    `  logic        ${batch.logicVersion ?? '-'}`,
    `  horizon      epoch ${batch.epoch}${horizon.length === 0 ? ', empty' : ''}`,
    ...horizonLines(horizon),
    ...inputLines(batch),
    `  events       ${batch.eventsRead === null ? 'not read yet' : `${count(batch.eventsRead)} read, ${count(batch.eventsCounted ?? 0)} count`}`,
  ]
  if (batch.steps !== null) {
    const taken = batch.steps
    const steps = stepOrder.filter((step) => step in taken).map((step) => `${step} ${durationText(taken[step]!)}`)
    lines.push(`  steps        ${steps.join(' · ')}`)
  }
  if (check?.result !== undefined) lines.push(...checkLines(check))
  if (batch.message !== null) lines.push(`  message      ${batch.message}`)
  if (batch.status === 'held' && check !== null) lines.push(...heldLines(batch, check))
  return lines
}

function timeText(at: Date): string {
  return `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

function horizonLines(horizon: readonly HorizonEntry[]): string[] {
  return [...Map.groupBy(horizon, ({ topic }) => topic)].map(
    ([topic, entries]) => `               ${topic} ${entries.map(({ partition, nextOffset }) => `${partition}:${nextOffset}`).join(' ')}  (partition:next offset)`,
  )
}

function inputLines({ inputs }: Batch): string[] {
  return Object.entries(inputs ?? {}).map(([topic, sums]) => {
    const old = sums.old.files === 0 ? '' : `; ${count(sums.old.files)} older files looked through for copies`
    return `  read         ${topic}: ${count(sums.new.files)} files, ${count(sums.new.rows)} rows, ${(sums.new.bytes / 1_000_000).toFixed(1)} MB${old}`
  })
}

function checkLines(check: Partial<CrossCheckSummary> & { readonly redecoded?: Redecoded }): string[] {
  const lines = [`  cross-check  ${check.result}: ${check.text ?? ''}`]
  const reasons = Object.entries(check.correctionsByReason ?? {})
  if (reasons.length > 0) lines.push(`               corrections: ${reasons.map(([reason, corrections]) => `${reason} ${count(corrections)}`).join(', ')}`)
  const decoded = check.logic ?? check.redecoded
  if (decoded !== undefined) {
    lines.push(`  decoded      ${count(decoded.files)} files again, ${count(decoded.filesChanged)} came out otherwise: ${count(decoded.changed)} events changed, ${count(decoded.refusedAnew)} refused anew, ${count(decoded.acceptedAnew)} accepted anew`)
    for (const { partition, offset, index, what, eventId, reason, was, is } of decoded.listed.slice(0, listedMax)) {
      const fields = Object.keys(is).map((name) => `${name} ${String(was[name])} → ${String(is[name])}`)
      lines.push(`               ${partition}:${offset}/${index} ${eventId ?? ''} ${what}${reason === null ? '' : ` (${reason})`}${fields.length === 0 ? '' : `: ${fields.join(', ')}`}`)
    }
    if (decoded.listed.length > listedMax) lines.push('               … (--json lists a hundred)')
  }
  return lines
}

function heldLines({ batch }: Batch, check: Partial<CrossCheckSummary>): string[] {
  const keys = check.unexplainedKeys ?? []
  const events = check.unexplainedEvents ?? []
  const counts = check.unexplainedCounts ?? []
  const lines = ['', 'Held, since this is explained by no stated rule; the batch before serves meanwhile, exact through the speed layer.']
  if (keys.length > 0) lines.push('', 'Keys that differ: what the archive gives, and what was counted live')
  for (const { view, key, batch: archive, speed } of keys.slice(0, listedMax)) {
    // The database keeps no order of names.
    const grain = views.find((one) => one.name === view)?.grain.map(({ name }) => key[name]) ?? Object.values(key)
    const differing = measures.filter((name) => name in archive || name in speed).map((name) => `${name} ${archive[name] ?? '0'} | ${speed[name] ?? '0'}`)
    lines.push(`  ${view} ${grain.join(' · ')}:  ${differing.join(', ')}`)
  }
  if (keys.length > listedMax) lines.push(`  … and ${count(keys.length - listedMax)} more (--json)`)
  if (events.length > 0) lines.push('', 'Events')
  for (const { topic, position, eventId, what } of events.slice(0, listedMax)) {
    lines.push(`  ${topic} ${position.partition}:${position.offset}/${position.index} (epoch ${position.epoch}) ${eventId ?? 'of unknown id'}: ${what}`)
  }
  if (events.length > listedMax) lines.push(`  … and ${count(events.length - listedMax)} more (--json)`)
  if (counts.length > 0) lines.push('', 'Counts of ids')
  for (const { epoch, partition, batchEvents, speedEvents } of counts.slice(0, listedMax)) lines.push(`  epoch ${epoch}, partition ${partition}: ${batchEvents} in the archive, ${speedEvents} live`)
  lines.push('', 'Decide:', `  ./tidemark batch accept ${batch}   publishes it; the difference is booked as accepted, and no batch before it can serve again`, `  ./tidemark batch drop ${batch}     gives it up; the next batch looks again`)
  return lines
}
