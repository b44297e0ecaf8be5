/** Imports into a lab: lines with what they mean, written to files and imported as the command does it, with crashes on the way. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { writeImportFile } from '#batch/import-file.ts'
import { parquetCodec } from '#engines/parquet.ts'
import type { ImportOptions, ImportOutcome } from '#speed/import.ts'
import { runImport } from '#speed/import.ts'
import { openDatabase } from '#store/database.ts'
import { beginImport } from '#store/imports.ts'
import type { Lab } from '#test/lab.ts'
import type { MeantRecord } from '#test/oracle.ts'
import { readImportChunks } from '../../cli/import-lines.ts'
import { CrashError } from './crash.ts'
import { sale } from './sale.ts'

export type MeantLine = { readonly text: string; readonly meant: MeantRecord }

/** The sale of `sale(given)`, of the source that the import's name is. */
export function importedSale(source: string, given: Parameters<typeof sale>[0]): MeantLine {
  const { value, meant } = sale(given)
  return { text: value.toString(), meant: meant === null ? null : meant.map((fact) => ({ ...fact, source })) }
}

export function refusedLine(text: string): MeantLine {
  return { text, meant: null }
}

export const importCrashPoints = ['beforeFile', 'lake', 'afterFile', 'beforeBegin', 'beforeCommit', 'afterCommit'] as const
export type ImportCrashPoint = (typeof importCrashPoints)[number]

export type LabImport = {
  readonly name?: string
  readonly source?: string
  readonly files: readonly string[]
  readonly chunkLinesMax?: number
  readonly ledgerIdsMax?: number
  readonly nowMs?: number
  /** Stop behind so many chunks, as a first signal does. */
  readonly stopAfterChunks?: number
  /** The connections break where they are, `passes` chunks unharmed before. */
  readonly crash?: { readonly point: ImportCrashPoint; readonly passes: number }
  readonly faults?: ImportOptions['faults']
}

/** Folder of files that goes with the lab. */
export async function importFolder(): Promise<AsyncDisposable & { write(name: string, lines: readonly MeantLine[] | string): Promise<string> }> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-import-'))
  return {
    async write(name, lines) {
      const path = join(folder, name)
      const text = typeof lines === 'string' ? lines : lines.map((line) => `${line.text}\n`).join('')
      await writeFile(path, name.endsWith('.gz') ? gzipSync(text) : text)
      return path
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

let runs = 0

/** An import as a process of its own would do it. */
export async function runLabImport(lab: Lab, options: LabImport): Promise<ImportOutcome> {
  const applicationName = `lab import ${process.pid} ${++runs}`
  const database = openDatabase({ url: lab.url, schema: lab.database.schema, applicationName })
  const { crash } = options
  let passes = crash?.passes ?? 0
  let dying: Promise<unknown> | null = null
  let crashed: CrashError | null = null
  function die(point: ImportCrashPoint): Promise<unknown> {
    crashed = new CrashError(`crash at ${point}`)
    // From now on the pool gives no connection.
    dying = database.pool.end()
    return lab.database.pool.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [applicationName])
  }
  const at = async (point: ImportCrashPoint): Promise<void> => {
    if (crash?.point !== point || passes-- > 0) return
    await die(point)
    throw crashed!
  }
  if (crash?.point === 'lake') {
    lab.lakeFault = (point) => {
      if (point !== 'written' || passes-- > 0) return
      lab.lakeFault = null
      void die('lake')
      throw crashed!
    }
  }
  const name = options.name ?? 'old-shop'
  const stop = new AbortController()
  let chunks = 0
  try {
    const begun = await beginImport(database, { name, topic: lab.topic, source: options.source ?? name, logTimeMs: options.nowMs ?? Date.parse('2026-01-01T00:00:00Z') })
    const outcome = await runImport(
      {
        database,
        decoder: lab.decoder,
        ledgerIdsMax: options.ledgerIdsMax ?? 100_000,
        writeFile: (range, records) => writeImportFile({ lake: lab.lake, codec: parquetCodec, decoder: lab.decoder }, range, records),
        readChunks: (stands) => readImportChunks({ name, paths: options.files, chunkLinesMax: options.chunkLinesMax ?? 7, chunkBytesMax: 1_000_000, signal: stop.signal }, stands),
        onChunk: () => {
          if (++chunks === options.stopAfterChunks) stop.abort()
        },
        faults: {
          beforeFile: () => at('beforeFile'),
          afterFile: () => at('afterFile'),
          beforeBegin: () => at('beforeBegin'),
          beforeCommit: () => at('beforeCommit'),
          afterCommit: () => at('afterCommit'),
          ...options.faults,
        },
      },
      begun,
      stop.signal,
    )
    if (crashed !== null) throw new Error(`the import went on after its ${(crashed as CrashError).message}`)
    return outcome
  } catch (thrown) {
    throw crashed ?? thrown
  } finally {
    lab.lakeFault = null
    await (dying ?? database[Symbol.asyncDispose]())
  }
}
