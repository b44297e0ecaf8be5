/** Peak memory of `up` while a million lines are ingested: summed PSS of all its processes, PostgreSQL and ledger included. Must: 1 GiB. Linux only. */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type MemoryResult = { readonly name: string; readonly lines: number; readonly peakMiB: number; readonly atPeakMiB: Readonly<Record<string, number>>; readonly seconds: number }

const main = fileURLToPath(new URL('../cli/main.ts', import.meta.url))
/** As ./tidemark starts them. */
const heapFlags = ['--max-semi-space-size=8']
const sampleMs = 250

export async function benchMemory(lines: number): Promise<MemoryResult> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-memory-'))
  const data = join(folder, 'data')
  const file = join(folder, 'lines.txt')
  const truth = join(folder, 'truth.json')
  try {
    await runCommand(['generate', '--profile', 'bench', '--events', String(lines), '--seed', '5', '--out', file, '--truth', truth, '--quiet'])
    const up = spawn(process.execPath, [...heapFlags, main, 'up', '--no-demo', '--data', data, '--port', '18080'], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise<void>((resolve, reject) => {
      up.once('exit', (code) => reject(new Error(`up ended with ${code}`)))
      up.stdout.on('data', (chunk: Buffer) => {
        if (chunk.includes('Tidemark is up')) resolve()
      })
    })
    up.removeAllListeners('exit')
    const sampling = samplePeak(data)
    const startedAt = performance.now()
    await runCommand(['ingest', file, '--data', data, '--quiet'])
    const seconds = (performance.now() - startedAt) / 1000
    const peak = await sampling.stop()
    await runCommand(['verify', '--truth', truth, '--data', data, '--quiet'])
    const ended = new Promise((resolve) => up.once('exit', resolve))
    up.kill('SIGINT')
    await ended
    return { name: 'peak memory of up while ingesting', lines, peakMiB: peak.total, atPeakMiB: peak.parts, seconds: Math.round(seconds * 10) / 10 }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function runCommand(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [...heapFlags, main, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  const code = await new Promise((resolve) => child.once('exit', resolve))
  if (code !== 0) throw new Error(`tidemark ${args[0]} ended with ${String(code)}`)
}

/** Samples every process whose command line names the data folder, except the ingesting one's own file reading, which is counted too: it is part of the job. */
function samplePeak(data: string): { stop(): Promise<{ total: number; parts: Record<string, number> }> } {
  let peak = { total: 0, parts: {} as Record<string, number> }
  let stopped = false
  const loop = (async () => {
    while (!stopped) {
      const parts = await sample(data)
      const total = Object.values(parts).reduce((sum, mib) => sum + mib, 0)
      if (total > peak.total) peak = { total, parts }
      await new Promise((resolve) => setTimeout(resolve, sampleMs))
    }
  })()
  return {
    async stop() {
      stopped = true
      await loop
      return peak
    },
  }
}

async function sample(data: string): Promise<Record<string, number>> {
  const parts: Record<string, number> = {}
  const roots = new Map<string, string>()
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  for (const pid of pids) {
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const parent = /^PPid:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''))?.[1]
    const isOurs = command.some((part) => part.startsWith(data))
    const isBackend = parent !== undefined && roots.get(parent) === 'postgres'
    if (!isOurs && !isBackend) continue
    const name = isBackend || command[0]?.endsWith('postgres') === true ? 'postgres' : (command.find((part) => /^(up|speed|serve|batch|ingest)$/.test(part)) ?? 'other')
    roots.set(pid, name)
    const pssKb = Number(/^Pss:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => ''))?.[1] ?? 0)
    parts[name] = (parts[name] ?? 0) + Math.round(pssKb / 1024)
  }
  return parts
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchMemory(1_000_000))}\n`)
