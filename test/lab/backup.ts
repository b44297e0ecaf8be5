/** Backups of a lab: its store, its log where that is told, and its lake. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { Manifest } from '#cli/backup/manifest.ts'
import type { RestoreOptions, Restored } from '#cli/backup/restore.ts'
import { checkBackup, restoreBackup } from '#cli/backup/restore.ts'
import type { BackupOptions } from '#cli/backup/write.ts'
import { writeBackup } from '#cli/backup/write.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'

export const never = new AbortController().signal

export class BackupFolder implements AsyncDisposable {
  readonly root: string
  #given = 0

  constructor(root: string) {
    this.root = root
  }

  /** A name in it that nothing has yet. */
  next(): string {
    this.#given += 1
    return join(this.root, `backup-${this.#given}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true })
  }
}

async function openBackupFolder(): Promise<BackupFolder> {
  return new BackupFolder(await mkdtemp(join(tmpdir(), 'tidemark-backup-')))
}

/** Opens a lab, and a folder for its backups, before all tests of a file, and closes them after. */
export function openForAll(take: (lab: Lab, folder: BackupFolder) => void): void {
  const stack = new AsyncDisposableStack()
  beforeAll(async () => take(stack.use(await openLab()), stack.use(await openBackupFolder())))
  afterAll(() => stack.disposeAsync())
}

export async function backUp({ database, lake }: Lab, directory: string, options: Partial<BackupOptions> = {}): Promise<Manifest> {
  return writeBackup({ database, logSchema: null, lake, holdsLake: true, directory, signal: never, onStep: () => undefined, ...options })
}

/** Into the lab's own schema, unless another is named. */
export async function putBack({ url, database, lake, decoder }: Lab, directory: string, options: Partial<RestoreOptions> = {}): Promise<Restored> {
  const { signal = never } = options
  const manifest = await checkBackup(directory, signal, () => undefined)
  return restoreBackup({
    directory,
    manifest,
    url,
    schema: database.schema,
    logSchema: null,
    keepsLog: false,
    lake,
    decoderVersion: decoder.logicVersion,
    signal,
    onStep: () => undefined,
    ...options,
  })
}

/** The database is lost: not a table of the store is left. */
export async function loseStore({ database }: Lab): Promise<void> {
  await database.pool.query(`DROP SCHEMA ${database.schema} CASCADE`)
}
