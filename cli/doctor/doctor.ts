/** Looks at everything that a shop of these settings needs, all at once. Changes nothing but a file in the lake, which is removed again. */
import type { Settings } from '../settings.ts'
import { databaseExaminations } from './database.ts'
import type { Finding } from './finding.ts'
import { examine } from './finding.ts'
import { jobsExaminations } from './jobs.ts'
import { lakeExaminations } from './lake.ts'
import { logExaminations } from './log.ts'
import { machineExaminations } from './machine.ts'
import { searchExaminations } from './search.ts'
import type { StoreAccess } from './store-access.ts'
import { reachStore } from './store-access.ts'
import { watchWarnings } from './warnings.ts'

const closingTimeoutMs = 3_000

/** Findings in the order of the areas. Never rejects for what it looks at, and ends within two minutes whatever hangs. */
export async function lookAtAll(settings: Settings): Promise<readonly Finding[]> {
  const told = watchWarnings()
  const resources = new AsyncDisposableStack()
  const reaching: Promise<StoreAccess> = reachStore(settings, resources)
  // Each who needs it reports its failure.
  reaching.catch(() => undefined)
  const examinations = [
    ...machineExaminations(settings),
    ...databaseExaminations(settings, reaching),
    ...logExaminations(settings, reaching),
    ...lakeExaminations(settings),
    ...searchExaminations(settings, reaching),
    ...jobsExaminations(settings, reaching),
  ]
  const findings = (await Promise.all(examinations.map(examine))).flat()
  await closed(resources)
  const warnings = told()
  const last = findings.findLastIndex(({ area }) => area === warnings.area)
  return findings.toSpliced(last + 1, 0, warnings)
}

/** A database that hangs is not waited for. */
async function closed(resources: AsyncDisposableStack): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, closingTimeoutMs)
  await Promise.race([resources.disposeAsync().catch(() => undefined), late])
  clearTimeout(timer)
}
