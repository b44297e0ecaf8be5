/** Finds the Java that an engine needs among those that are installed: the oldest that is new enough, which is nearest to what the engine was tried with. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, realpathSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { ConfigError } from '#core/errors.ts'

export type Java = { readonly home: string; readonly version: number }

const versionWithinMs = 20_000
const installFolders = ['/usr/lib/jvm', '/usr/java', '/opt/java', '/opt/homebrew/opt', '/Library/Java/JavaVirtualMachines']

/** The major version in a `release` file or in what `java -version` prints: 17 of "17.0.15", 8 of "1.8.0_392"; undefined where there is none. */
export function parseJavaVersion(text: string): number | undefined {
  const [, first, second] = /(?:JAVA_VERSION="|version ")(\d+)(?:\.(\d+))?/.exec(text) ?? []
  if (first === undefined) return undefined
  return Number(first) === 1 && second !== undefined ? Number(second) : Number(first)
}

/** Every Java that JAVA_HOME, the usual folders and PATH lead to, once each. */
export function findJavas(environment: NodeJS.ProcessEnv = process.env): readonly Java[] {
  const homes = new Set([...homeOf(environment['JAVA_HOME']), ...installFolders.flatMap(homesBelow), ...homesOnPath(environment['PATH'])])
  return [...homes].flatMap((home) => {
    const version = versionOf(home)
    return version === undefined ? [] : [{ home, version }]
  })
}

export function chooseJava(javas: readonly Java[], versionMin: number): Java | undefined {
  return javas.filter(({ version }) => version >= versionMin).toSorted((one, other) => one.version - other.version)[0]
}

export function requireJava(javas: readonly Java[], versionMin: number, engine: string): Java {
  const java = chooseJava(javas, versionMin)
  if (java !== undefined) return java
  const found = javas.length === 0 ? 'none is installed' : `found: ${javas.map(({ version, home }) => `${version} in ${home}`).join(', ')}`
  throw new ConfigError(
    `${engine} needs Java ${versionMin} or newer (${found}). Install one, for example from https://adoptium.net/ or with \`apt-get install openjdk-${versionMin}-jre-headless\`, or name it by JAVA_HOME.`,
  )
}

function homesBelow(folder: string): readonly string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder).flatMap((name) => [...homeOf(join(folder, name)), ...homeOf(join(folder, name, 'Contents', 'Home'))])
}

function homesOnPath(path = ''): readonly string[] {
  return path.split(delimiter).flatMap((folder) => {
    const program = join(folder, programName)
    return existsSync(program) ? homeOf(dirname(dirname(realpathSync(program)))) : []
  })
}

const programName = process.platform === 'win32' ? 'java.exe' : 'java'

function homeOf(folder: string | undefined): readonly string[] {
  if (folder === undefined || !existsSync(join(folder, 'bin', programName))) return []
  return [realpathSync(folder)]
}

function versionOf(home: string): number | undefined {
  const release = join(home, 'release')
  const known = existsSync(release) ? parseJavaVersion(readFileSync(release, 'utf8')) : undefined
  if (known !== undefined) return known
  const { stderr } = spawnSync(join(home, 'bin', programName), ['-version'], { encoding: 'utf8', timeout: versionWithinMs })
  return parseJavaVersion(stderr ?? '')
}
