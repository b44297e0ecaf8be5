import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where the engines' programs are kept, for all data folders of a user. */
export function cacheDirectoryOf(environment: NodeJS.ProcessEnv, given?: string): string {
  // An empty variable is one that is not set.
  return resolve(given || environment['TIDEMARK_ENGINES_CACHE'] || join(homedir(), '.cache', 'tidemark', 'engines'))
}
