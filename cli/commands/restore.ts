import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { openDecoder } from '#core/decode.ts'
import { ConfigError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import { diskLakeRoot, openLake } from '#engines/open.ts'
import { openDatabase, run } from '#store/database.ts'
import type { RegisteredFile } from '#store/registered-files.ts'
import { registeredLakeFiles } from '#store/registered-files.ts'
import type { LakeFaults } from '../backup/lake-files.ts'
import { compareWithLake } from '../backup/lake-files.ts'
import type { Manifest } from '../backup/manifest.ts'
import type { Place } from '../backup/place.ts'
import { describeBackup, logSchemaOf, openPlace } from '../backup/place.ts'
import { checkBackup, findRegisterFault, restoreBackup } from '../backup/restore.ts'
import type { CommonOptions } from '../command.ts'
import { exitCodes, guarded, settingsOf, withCommonOptions } from '../command.ts'
import { holdDataFolder } from '../data-folder.ts'
import { Progress, count, print, printJson } from '../output.ts'
import { controlProcess } from '../process-control.ts'
import type { Settings } from '../settings.ts'

type RestoreCommandOptions = CommonOptions & { keepLog?: boolean; check?: boolean; deep?: boolean }
type OnStep = (step: string, detail: string) => void

const namedMax = 20

export function addRestore(program: Command): void {
  withCommonOptions(program.command('restore [folder]'))
    .description('put a backup back where no store is, and say what of the lake is missing; with --check only look')
    .option('--keep-log', 'put back the store alone: the embedded log that is there goes on, and what the store lacks is counted again from it')
    .option('--check', 'change nothing: compare a backup with its checksums, and the files that it only names with the lake; without a folder, compare the store that is there with its lake')
    .option('--deep', 'with --check, read every registered file of the lake and compare its checksum')
    .addHelpText(
      'after',
      `
The whole backup is checked first, then the store is loaded beside its place and takes its name when it is whole: stopped before, it leaves nothing, and the
command may be given again. A backup of an older Tidemark is migrated; one of a newer is refused with the version to use. The store takes a new incarnation.
It ends with 3 where files of the lake are missing, and names them.

Examples:
  ./tidemark restore /backups/2025-03-01 --data restored
  ./tidemark restore /backups/2025-03-01 --check
  ./tidemark restore --check --deep`,
    )
    .action(async (folder: string | undefined, options: RestoreCommandOptions) => {
      await guarded(async () => {
        const { signal } = controlProcess()
        const progress = new Progress(options.quiet === true)
        const onStep: OnStep = (step, detail) => progress.show(`${step.padEnd(8)} ${detail}`)
        try {
          if (options.check !== true) await restore(folder, options, signal, onStep, progress)
          else if (folder === undefined) await checkStore(options, signal, onStep, progress)
          else await checkFolder(folder, options, signal, onStep, progress)
        } catch (thrown) {
          if (!signal.aborted) throw thrown
          process.exitCode = exitCodes.interrupted
        }
      })
    })
}

async function restore(folder: string | undefined, options: RestoreCommandOptions, signal: AbortSignal, onStep: OnStep, progress: Progress): Promise<void> {
  if (folder === undefined) throw new ConfigError('Name the folder of a backup, or say --check to look at the store that is there.')
  const settings = settingsOf(options)
  // Before a server is set up for it: a backup with a fault needs none.
  const manifest = await checkBackup(resolve(folder), signal, onStep)
  await withPlace(settings, options, async ({ url, lake }, resources) => {
    if (settings.databaseUrl === '') await holdDataFolder(settings, resources)
    const restored = await restoreBackup({
      directory: resolve(folder),
      manifest,
      url,
      schema: settings.schema,
      logSchema: logSchemaOf(settings),
      keepsLog: options.keepLog === true,
      lake,
      decoderVersion: openDecoder({ zone: settings.zone, currency: settings.currency }).logicVersion,
      signal,
      onStep,
    })
    progress.done(`restored after ${progress.seconds.toFixed(1)} s`)
    const { incarnation, migrated, filesPut } = restored
    if (options.json === true) printJson({ ...describeBackup(manifest).json, incarnation, migrated, filesPut, lake: restored.lake, registerFault: restored.registerFault })
    else {
      print(`Restored ${describeBackup(manifest).text}.`)
      print(`${count(filesPut)} files were put into the lake. The store's new incarnation is ${incarnation}.`)
      if (migrated.length > 0) print(`Migrated: ${migrated.join(', ')}.`)
    }
    conclude(restored.lake, restored.registerFault, options)
  })
}

async function checkFolder(folder: string, options: RestoreCommandOptions, signal: AbortSignal, onStep: OnStep, progress: Progress): Promise<void> {
  const manifest = await checkBackup(resolve(folder), signal, onStep)
  const { text, json } = describeBackup(manifest)
  const isJson = options.json === true
  // Said before a lake is asked, which may be away.
  if (!isJson) print(`${resolve(folder)} is whole. It holds ${text}.`)
  const settings = settingsOf(options)
  const root = diskLakeRoot(settings)
  // Nothing is set up only to be looked at.
  const hasLake = root === null || existsSync(root)
  const faults = manifest.lake === 'named' && hasLake ? await compareNamed(manifest, settings, options, signal, onStep) : null
  progress.done(`checked after ${progress.seconds.toFixed(1)} s`)
  if (isJson) printJson({ folder: resolve(folder), whole: true, ...json, compared: faults !== null, ...(faults !== null && { ...faults, deep: options.deep === true }) })
  else if (faults !== null) print(`Compared with ${root ?? 'the lake of LAKE_URL'}: ${inLakeText(faults, options)}`)
  else if (manifest.lake === 'named') print('There is no lake here to compare those names with: name its folder with --data, or its address with LAKE_URL.')
  if (faults !== null) conclude(faults, null, options)
}

async function compareNamed({ files }: Manifest, settings: Settings, options: RestoreCommandOptions, signal: AbortSignal, onStep: OnStep): Promise<LakeFaults> {
  await using lake = await openLake(settings)
  return await compareFiles(lake, files, options, signal, onStep)
}

async function compareFiles(lake: Lake, files: readonly RegisteredFile[], { deep }: RestoreCommandOptions, signal: AbortSignal, onStep: OnStep): Promise<LakeFaults> {
  return compareWithLake(lake, files, { deep: deep === true, signal, onFile: (done) => onStep('lake', `${done} of ${files.length} files`) })
}

function inLakeText({ checked, missing, damaged }: LakeFaults, { deep }: RestoreCommandOptions): string {
  return `${count(checked - missing.length - damaged.length)} of ${count(checked)} registered files are in the lake${deep === true ? ' with the bytes that were registered' : ''}.`
}

async function checkStore(options: RestoreCommandOptions, signal: AbortSignal, onStep: OnStep, progress: Progress): Promise<void> {
  const settings = settingsOf(options)
  // Nothing is set up only to be looked at.
  if (settings.databaseUrl === '' && !existsSync(join(settings.dataDirectory, 'postgres'))) throw noStore(settings.dataDirectory)
  await withPlace(settings, options, async ({ url, lake }) => {
    await using database = openDatabase({ url, schema: settings.schema, connectionsMax: 2, applicationName: 'tidemark restore --check' })
    const [store] = await run<{ present: boolean }>(database.pool, 'SELECT to_regclass($1) IS NOT NULL AS present', [`${settings.schema}.lake_state`])
    if (store?.present !== true) throw noStore(`schema ${settings.schema}`)
    const files: RegisteredFile[] = await registeredLakeFiles(database.pool, settings.schema)
    const faults = await compareFiles(lake, files, options, signal, onStep)
    const registerFault = await findRegisterFault(database)
    progress.done(`checked after ${progress.seconds.toFixed(1)} s`)
    if (options.json === true) printJson({ ...faults, deep: options.deep === true, registerFault })
    else print(inLakeText(faults, options))
    conclude(faults, registerFault, options)
  })
}

function noStore(where: string): ConfigError {
  return new ConfigError(`There is no store in ${where} to check. Name a backup's folder, or the --data folder of a store.`)
}

async function withPlace(settings: Settings, options: CommonOptions, work: (place: Place, resources: AsyncDisposableStack) => Promise<void>): Promise<void> {
  await using resources = new AsyncDisposableStack()
  const say = options.quiet === true ? () => undefined : (line: string) => void process.stderr.write(`${line}\n`)
  await work(await openPlace(settings, resources, say), resources)
}

/** What the database and its lake disagree about, and the exit code for it. */
function conclude({ missing, damaged }: LakeFaults, registerFault: string | null, options: CommonOptions): void {
  if (missing.length + damaged.length === 0 && registerFault === null) return
  process.exitCode = exitCodes.difference
  if (options.json === true) return
  for (const [paths, what] of [[missing, 'missing from the lake'], [damaged, 'in the lake with other bytes than were registered']] as const) {
    if (paths.length === 0) continue
    print(`${count(paths.length)} registered files are ${what}:`)
    for (const path of paths.slice(0, namedMax)) print(`  ${path}`)
    if (paths.length > namedMax) print(`  and ${count(paths.length - namedMax)} more: --json names all.`)
  }
  if (missing.length + damaged.length > 0) print('No batch runs without them: put them back (docs/BACKUP.md), or write them again from the log with "tidemark batch repair", as far as it reaches.')
  if (registerFault !== null) print(registerFault)
}
