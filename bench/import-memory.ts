/**
 * Peak memory of an import of many lines ÷ of few: lines are read, decoded and written to the lake chunk by chunk, so only the ledger grows, to its bound.
 * The peak resident set of the importing process, as the kernel kept it (VmHWM); PostgreSQL's own is bounded by its settings. Linux only.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type ImportMemoryResult = {
  readonly name: string
  readonly ratio: number
  readonly runs: readonly { readonly lines: number; readonly peakMiB: number; readonly seconds: number }[]
}

const main = fileURLToPath(new URL('../cli/main.ts', import.meta.url))
/** As ./tidemark starts it. */
const heapFlags = ['--max-semi-space-size=8']
const sampleMs = 100

export async function benchImportMemory(fewLines: number, manyLines: number): Promise<ImportMemoryResult> {
  const runs = [await measure(fewLines), await measure(manyLines)]
  return { name: 'peak memory of an import, many lines ÷ few', ratio: Math.round((runs[1]!.peakMiB / runs[0]!.peakMiB) * 100) / 100, runs }
}

async function measure(lines: number): Promise<ImportMemoryResult['runs'][number]> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-import-memory-'))
  const data = join(folder, 'data')
  const file = join(folder, 'lines.txt')
  const truth = join(folder, 'truth.json')
  try {
    await runCommand(['generate', '--profile', 'bench', '--events', String(lines), '--seed', '5', '--out', file, '--truth', truth, '--quiet'])
    // The database is made outside of what is measured.
    await runCommand(['status', '--data', data])
    const startedAt = performance.now()
    const peakMiB = await runCommand(['import', file, '--name', 'old-shop', '--data', data, '--quiet'])
    const seconds = Math.round((performance.now() - startedAt) / 100) / 10
    // Some copies come a hundred days after the first, which is beyond the ledger of an import: the batch takes them out.
    await runCommand(['batch', 'run', '--data', data, '--quiet'])
    await runCommand(['verify', '--truth', truth, '--data', data, '--quiet'])
    return { lines, peakMiB, seconds }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Resolves to the peak resident set of its process, MiB. */
async function runCommand(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [...heapFlags, main, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  let peakMiB = 0
  const sampling = setInterval(() => {
    void readPeakMiB(child.pid!).then((mib) => (peakMiB = Math.max(peakMiB, mib)))
  }, sampleMs)
  const code = await ended
  clearInterval(sampling)
  if (code !== 0) throw new Error(`tidemark ${args[0]} ended with ${String(code)}`)
  return peakMiB
}

async function readPeakMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024)
}
