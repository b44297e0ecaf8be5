/** The migrations that this version knows, in order. */
import { readdirSync } from 'node:fs'

export const knownMigrations: readonly string[] = readdirSync(new URL('./migrations', import.meta.url))
  .filter((name) => name.endsWith('.sql'))
  .map((name) => name.slice(0, -'.sql'.length))
  .sort()
