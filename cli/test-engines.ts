/**
 * The real engines for the tests: those that variables name, else all, started in a folder of their own for the length of the run. What cannot be started here
 * is left out, and its tests are skipped with the reason.
 */
import { messageOf } from '#core/errors.ts'
import type { TemporaryFolder } from '#engines/temporary-folder.ts'
import { openTemporaryFolder } from '#engines/temporary-folder.ts'
import { engineNames } from './engines/cluster.ts'
import { cacheDirectoryOf } from './engines/cache-directory.ts'
import { testEnvironmentOf } from './engines/urls.ts'
import { startEngines } from './engines/starter.ts'
import { stopEngines } from './engines/stop.ts'

export type TestEngines = { readonly environment: Readonly<Record<string, string>>; stop(): Promise<void> }

const none: TestEngines = { environment: {}, stop: async () => undefined }

/**
 * Starts all that can run here, or nothing where a variable names any engine: tests then use the named ones only. Says what it leaves out, and never fails:
 * tests without an engine are skipped, and counted.
 */
export async function openTestEngines(environment: NodeJS.ProcessEnv, say: (line: string) => void, signal: AbortSignal): Promise<TestEngines> {
  if (environment['TIDEMARK_TEST_ENGINES'] === 'none') return none
  if (Object.keys(environment).some((name) => /^TIDEMARK_TEST_(KAFKA|HDFS|TRINO|ELASTICSEARCH|REDIS)/.test(name))) return none
  // Below the system's folder, since Elasticsearch runs as a user who may not look into a home. The engines of a run that was killed run on: they end first.
  const folder = await openTemporaryFolder('engines', { beforeRemoval: (path) => stopEngines(path) })
  const dataDirectory = folder.path
  let stopping: Promise<void> | undefined
  const stop = async (): Promise<void> => (stopping ??= stopAndDelete(folder))
  try {
    const cacheDirectory = cacheDirectoryOf(environment)
    const { urls } = await startEngines({ names: engineNames, cacheDirectory, dataDirectory, basePorts: 'free', skipMissing: true, say, signal })
    return { environment: { ...testEnvironmentOf(urls), TIDEMARK_TEST_ENGINES_DATA: dataDirectory }, stop }
  } catch (thrown) {
    say(`The real engines did not start, so their tests are skipped: ${messageOf(thrown)}`)
    await stop().catch((failed: unknown) => say(messageOf(failed)))
    return none
  }
}

async function stopAndDelete(folder: TemporaryFolder): Promise<void> {
  await stopEngines(folder.path)
  await folder[Symbol.asyncDispose]()
}
