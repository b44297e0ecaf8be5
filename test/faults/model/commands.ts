/**
 * The commands of a model run, as data: a run is made from its seed, and made again from the same seed. Numbers are read modulo what there is, so that a
 * run stays a run when commands are taken out of it to find the shortest that fails.
 */
import type { ReportKind } from '#core/report/periods.ts'
import { reportKinds } from '#core/report/periods.ts'
import type { BatchCrashPoint, CrashManner } from '#test/lab/crash.ts'
import { batchCrashPoints, batchSteps, crashManners } from '#test/lab/crash.ts'
import type { Random } from '#test/lab/random.ts'
import { seededRandom } from '#test/lab/random.ts'
import type { IntentKind } from '#test/lab/shop-stream.ts'
import { intentKinds } from '#test/lab/shop-stream.ts'

export const flushCrashPoints = ['before the transaction', 'in the transaction', 'connection lost in the transaction', 'after the commit'] as const
export type FlushCrashPoint = (typeof flushCrashPoints)[number]

/** Every place where a run may end, by name. A test fails if one was never hit. */
export const crashPoints: readonly string[] = [...flushCrashPoints.map((point) => `flush ${point}`), ...batchCrashPoints.flatMap((point) => crashManners.map((manner) => `${point} by ${manner}`))]

export type Command =
  | { readonly do: 'produce'; readonly kinds: readonly IntentKind[]; readonly seed: number }
  | { readonly do: 'open'; readonly slot: number; readonly mask: number }
  | { readonly do: 'read'; readonly slot: number; readonly partition: number; readonly records: number }
  | { readonly do: 'flush'; readonly slot: number }
  | { readonly do: 'drop'; readonly slot: number }
  | { readonly do: 'crash flush'; readonly slot: number; readonly point: FlushCrashPoint }
  | { readonly do: 'zombie'; readonly slot: number }
  | { readonly do: 'race'; readonly mask: number }
  | { readonly do: 'flush across cut'; readonly slot: number }
  | { readonly do: 'flush behind cut'; readonly slot: number }
  | { readonly do: 'rebalance'; readonly mask: number }
  | { readonly do: 'replay'; readonly slot: number }
  | { readonly do: 'cut' }
  | { readonly do: 'archive'; readonly archivers: 1 | 2 }
  | { readonly do: 'batch'; readonly full: boolean }
  | { readonly do: 'crash batch'; readonly point: BatchCrashPoint; readonly manner: CrashManner; readonly passes: number; readonly full: boolean }
  | { readonly do: 'two batches'; readonly step: (typeof batchSteps)[number] }
  | { readonly do: 'roll back' }
  | { readonly do: 'resume' }
  | { readonly do: 'prune'; readonly keep: number }
  | { readonly do: 'merge pages' }
  | { readonly do: 'merge rows' }
  | { readonly do: 'sweep' }
  | { readonly do: 'report'; readonly kind: ReportKind; readonly pick: number }
  | { readonly do: 'refresh reports' }
  | { readonly do: 'seasons'; readonly table: number }
  | { readonly do: 'late event'; readonly seed: number }
  | { readonly do: 'archive committed' }
  | { readonly do: 'compact' }
  | { readonly do: 'import'; readonly lines: number; readonly seed: number; readonly stopAfterChunks: number | null }
  | { readonly do: 'finish imports' }
  | { readonly do: 'quiesce' }

const weights: readonly (readonly [Command['do'], number])[] = [
  ['produce', 24],
  ['open', 6],
  ['read', 18],
  ['flush', 16],
  ['drop', 2],
  ['crash flush', 5],
  ['zombie', 3],
  ['race', 3],
  ['flush across cut', 3],
  ['flush behind cut', 3],
  ['rebalance', 3],
  ['replay', 2],
  ['cut', 3],
  ['archive', 2],
  ['batch', 4],
  ['crash batch', 10],
  ['two batches', 2],
  ['roll back', 3],
  ['resume', 4],
  ['prune', 3],
  ['merge pages', 3],
  ['merge rows', 4],
  ['sweep', 2],
  ['report', 4],
  ['refresh reports', 3],
  ['seasons', 1],
  ['late event', 2],
  ['archive committed', 2],
  ['compact', 2],
  ['import', 2],
  ['finish imports', 1],
  ['quiesce', 1],
]
const weightSum = weights.reduce((sum, [, weight]) => sum + weight, 0)

export const commandsMax = 60

/** The commands of run number `run` under `seed`. Crash points take turns, so that a few dozen runs meet them all. */
export function commandsOf(seed: number, run: number): Command[] {
  const random = seededRandom(seed * 7919 + run)
  const length = 15 + random.below(commandsMax - 14)
  let flushCrash = run
  // Each run starts elsewhere; the stride shares no factor with the number of points.
  let batchCrash = run * 5
  return Array.from({ length }, () => {
    const kind = pickKind(random)
    if (kind === 'crash flush') return { do: kind, slot: random.below(4), point: flushCrashPoints[flushCrash++ % flushCrashPoints.length]! }
    if (kind === 'crash batch') {
      const turn = batchCrash++ % (batchCrashPoints.length * crashManners.length)
      const point = batchCrashPoints[turn % batchCrashPoints.length]!
      const manner = crashManners[Math.floor(turn / batchCrashPoints.length)]!
      return { do: kind, point, manner, passes: random.chance(0.2) ? 1 : 0, full: random.chance(0.15) }
    }
    return command(kind, random)
  })
}

function pickKind(random: Random): Command['do'] {
  let left = random.below(weightSum)
  for (const [kind, weight] of weights) {
    left -= weight
    if (left < 0) return kind
  }
  return 'produce'
}

function command(kind: Exclude<Command['do'], 'crash flush' | 'crash batch'>, random: Random): Command {
  const slot = random.below(4)
  if (kind === 'produce') {
    const kinds = Array.from({ length: 1 + random.below(12) }, () => random.pick(intentKinds))
    return { do: kind, kinds, seed: random.below(2 ** 31) }
  }
  if (kind === 'open' || kind === 'race' || kind === 'rebalance') return { do: kind, slot, mask: 1 + random.below(7) }
  if (kind === 'read') return { do: kind, slot, partition: random.below(3), records: 1 + random.below(15) }
  if (kind === 'archive') return { do: kind, archivers: random.chance(0.5) ? 1 : 2 }
  if (kind === 'batch') return { do: kind, full: random.chance(0.2) }
  if (kind === 'two batches') return { do: kind, step: random.pick(batchSteps) }
  if (kind === 'report') return { do: kind, kind: random.pick(reportKinds), pick: random.below(1_000) }
  if (kind === 'seasons') return { do: kind, table: random.below(3) }
  if (kind === 'import') return { do: kind, lines: 1 + random.below(30), seed: random.below(2 ** 31), stopAfterChunks: random.chance(0.5) ? 1 : null }
  if (kind === 'late event') return { do: kind, seed: random.below(2 ** 31) }
  if (kind === 'prune') return { do: kind, keep: 1 + random.below(3) }
  if (kind === 'flush' || kind === 'drop' || kind === 'zombie' || kind === 'flush across cut' || kind === 'flush behind cut' || kind === 'replay') return { do: kind, slot }
  return { do: kind }
}
