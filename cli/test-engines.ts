/**
 * The real engines for the tests: those that variables name, else all, started in a folder of their own for the length of the run. What cannot be started here
 * is left out, and its tests are skipped with the reason.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '#core/errors.ts'
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
  // Below the system's folder, since Elasticsearch runs as a user who may not look into a home.
  const dataDirectory = mkdtempSync(join(tmpdir(), 'tidemark-engines-'))
  let stopping: Promise<void> | undefined
  const stop = async (): Promise<void> => (stopping ??= stopAndDelete(dataDirectory))
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

async function stopAndDelete(dataDirectory: string): Promise<void> {
  await stopEngines(dataDirectory)
  rmSync(dataDirectory, { recursive: true, force: true, maxRetries: 5 })
}
