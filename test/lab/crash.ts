/**
 * Crashes of a batch run. `throw`: the step fails, and the run still tidies up after itself. `kill`: the process is gone, so its connections break where they
 * are and nothing of it speaks to the database again.
 */
import { parquetCodec } from '#engines/parquet.ts'
import type { DiskLakeFaultPoint } from '#engines/disk-lake.ts'
import { diskLakeFaultPoints } from '#engines/disk-lake.ts'
import type { BatchOptions, BatchOutcome } from '#batch/run.ts'
import { runBatch } from '#batch/run.ts'
import type { QueryEngine } from '#core/ports.ts'
import { openDatabase } from '#store/database.ts'
import type { Lab } from '#test/lab.ts'

export class CrashError extends Error {}

export const batchSteps = ['cut', 'archive', 'register', 'recompute', 'cross-check', 'combine', 'publish'] as const
/** Of a full run beside those; the second only where it takes other logic into use. */
export type FullStep = 'redecode' | 'switch'
export type BatchCrashPoint = `batch ${(typeof batchSteps)[number] | FullStep}` | `lake ${DiskLakeFaultPoint}`
export const batchCrashPoints: readonly BatchCrashPoint[] = [...batchSteps.map((step) => `batch ${step}` as const), ...diskLakeFaultPoints.map((point) => `lake ${point}` as const)]
export type CrashManner = 'throw' | 'kill'
export const crashManners: readonly CrashManner[] = ['throw', 'kill']

export type BatchCrash = {
  readonly point: BatchCrashPoint
  readonly manner: CrashManner
  /** How often the point is passed unharmed first. */
  readonly passes?: number
  readonly onCrash?: () => void
}

export type LabBatchOptions = { readonly full?: boolean; readonly crash?: BatchCrash; readonly before?: BatchOptions['before']; readonly engine?: QueryEngine; readonly fileOffsetsMax?: number; readonly onStep?: BatchOptions['onStep']; readonly run?: typeof runBatch }

let runs = 0

/** A batch run as a process of its own would do it. */
export async function runLabBatch(lab: Lab, options: LabBatchOptions = {}): Promise<BatchOutcome> {
  const applicationName = `lab batch ${process.pid} ${++runs}`
  const database = openDatabase({ url: lab.url, schema: lab.database.schema, applicationName })
  let dying: Promise<unknown> | null = null
  let passes = options.crash?.passes ?? 0
  let crashed: CrashError | null = null
  const crashAt = (point: BatchCrashPoint): CrashError => (crashed = new CrashError(`crash at ${point}`))
  /** Breaks the run's connections; whatever it tries afterwards fails. */
  function die(): Promise<unknown> {
    // From now on the pool gives no connection; it has ended when each was given back.
    const ended = database.pool.end()
    const broken = lab.database.pool.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [applicationName])
    dying = Promise.all([ended, broken])
    return broken
  }
  const { crash } = options
  lab.lakeFault = (point) => {
    if (crash?.point !== `lake ${point}` || passes-- > 0) return
    lab.lakeFault = null
    crash.onCrash?.()
    if (crash.manner === 'kill') void die()
    throw crashAt(crash.point)
  }
  try {
    const outcome = await (options.run ?? runBatch)({
      database,
      log: lab.log,
      lake: lab.lake,
      engine: options.engine ?? lab.engine,
      codec: parquetCodec,
      decoder: lab.decoder,
      topic: lab.topic,
      fileOffsetsMax: options.fileOffsetsMax ?? 50,
      signal: new AbortController().signal,
      full: options.full === true,
      ...(options.onStep && { onStep: options.onStep }),
      before: async (step, context) => {
        await options.before?.(step, context)
        if (crash?.point !== `batch ${step}` || passes-- > 0) return
        crash.onCrash?.()
        if (crash.manner === 'kill') await die()
        throw crashAt(crash.point)
      },
    })
    if (crashed !== null) throw new Error(`the run went on after its ${(crashed as CrashError).message}`)
    return outcome
  } catch (thrown) {
    // What the layers made of it on the way, be it a failed write or a lost connection, is theirs to test.
    throw crashed ?? thrown
  } finally {
    lab.lakeFault = null
    await (dying ?? database[Symbol.asyncDispose]())
  }
}
