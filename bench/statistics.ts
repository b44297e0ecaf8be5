/** Times, and ratios of pairs that were measured one after the other in one run: what a machine does meanwhile hits both. */

export type Ratio = { readonly median: number; readonly low: number; readonly high: number; readonly pairs: number }

export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / 1000
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!
}

const resamples = 2_000

/** Median of pairwise ratios with a bootstrap 95 % interval; the resampling is seeded, so that a report can be made again. */
export function ratioOf(numerators: readonly number[], denominators: readonly number[]): Ratio {
  const ratios = numerators.map((value, i) => value / denominators[i]!)
  let state = 12_345
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  const medians = Array.from({ length: resamples }, () => median(ratios.map(() => ratios[Math.floor(random() * ratios.length)]!)))
  return { median: median(ratios), low: percentile(medians, 0.025), high: percentile(medians, 0.975), pairs: ratios.length }
}
