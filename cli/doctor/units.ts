/** Quantities as people read them. */
const MiB = 1024 * 1024

export function bytesText(bytes: number): string {
  return bytes >= 10 * 1024 * MiB ? `${Math.round(bytes / 1024 / MiB)} GB` : bytes >= 1024 * MiB ? `${(bytes / 1024 / MiB).toFixed(1)} GB` : `${Math.round(bytes / MiB)} MB`
}

export function durationText(ms: number): string {
  const steps: readonly (readonly [number, string])[] = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1_000, 's']]
  const [size, unit] = steps.find(([least]) => ms >= 2 * least) ?? [1_000, 's']
  return `${(ms / size).toFixed(ms / size < 10 && unit !== 's' ? 1 : 0)} ${unit}`
}

export function plural(count: number, noun: string): string {
  return `${count.toLocaleString('en-GB')} ${noun}${count === 1 ? '' : 's'}`
}

/** 0 to 1 as per cent. */
export function shareText(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`
}

/** `10.2` and `10.1.3` as numbers of their first two places. */
export function versionAtLeast(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  return first > major || (first === major && second >= minor)
}
