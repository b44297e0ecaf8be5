/** What Node itself warned of while the engines were asked. */
import type { Finding } from './finding.ts'

const notes: Readonly<Record<string, string>> = {
  TimeoutNegativeWarning: 'kafkajs 2.2.4 sets timers in the past, which Node 24 tells of. It is harmless; Tidemark\'s own connections keep it from doing so, so look for another part of this process that uses kafkajs.',
  ExperimentalWarning: 'Run it by ./tidemark, with the Node that comes with it.',
}

/** Begins to listen; the returned function stops and tells. */
export function watchWarnings(): () => Finding {
  const seen = new Map<string, string>()
  const note = (warning: Error): void => void seen.set(warning.name, warning.message)
  process.on('warning', note)
  return () => {
    process.off('warning', note)
    return judgeWarnings(seen)
  }
}

export function judgeWarnings(seen: ReadonlyMap<string, string>): Finding {
  const about = { area: 'machine', check: 'warnings' } as const
  if (seen.size === 0) return { ...about, level: 'ok', says: 'Node warned of nothing' }
  const says = [...seen].map(([name, message]) => `${name}: ${message}`).join('; ')
  return { ...about, level: 'warn', says, fix: [...seen.keys()].map((name) => notes[name] ?? 'See what calls it: NODE_OPTIONS=--trace-warnings.').join(' ') }
}
