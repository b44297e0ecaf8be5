/**
 * What a backup is: a folder that holds the tables, the files of the lake, and `manifest.json`, which names them all with their checksums. A checksum of the
 * manifest stands beside it. No setting, and so no password, is in it.
 *
 *     DIR/manifest.json            DIR/store/<table>.copy      DIR/lake/<path as in the lake>
 *     DIR/manifest.json.sha256     DIR/log/<table>.copy        (of the embedded log)
 */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ConfigError, CorruptError, messageOf } from '#core/errors.ts'
import { isLakePath } from '#engines/lake-path.ts'

export const manifestName = 'manifest.json'
export const manifestSumName = 'manifest.json.sha256'
/** Raised when an older Tidemark could not read what a newer one writes. */
export const backupFormat = 1

const name = z.string().regex(/^[a-z_][a-z0-9_]{0,62}$/)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const size = z.number().int().min(0)
const part = z.enum(['store', 'log'])

const manifestForm = z.object({
  format: z.number().int(),
  /** Which Tidemark wrote the backup, and which brought the store's schema to where it is. */
  tidemark: z.string(),
  madeBy: z.string().nullable(),
  createdAt: z.string(),
  postgres: z.string(),
  incarnation: z.string(),
  epoch: size,
  batch: size,
  logicVersion: z.string().nullable(),
  /** Next offsets, exclusive: what the published batch covers, and what the store had counted. Topic → partition → offset. */
  horizon: z.record(z.string(), z.record(z.string(), size)),
  committed: z.record(z.string(), z.record(z.string(), size)),
  migrations: z.array(z.string()),
  /** `elsewhere`: a Kafka or another database, which the backup does not hold. */
  log: z.enum(['held', 'elsewhere']),
  /** `named`: the files stay in the lake, and the backup names them only. */
  lake: z.enum(['held', 'named']),
  tables: z.array(z.object({ part, name, columns: z.array(name), rows: size, bytes: size, sha256 })),
  sequences: z.array(z.object({ part, name, last: z.string().regex(/^-?\d+$/), called: z.boolean() })),
  files: z.array(z.object({ path: z.string().refine(isLakePath), bytes: size, sha256 })),
})

export type Manifest = z.infer<typeof manifestForm>
export type TableEntry = Manifest['tables'][number]
export type FileEntry = Manifest['files'][number]

export function tableFile(directory: string, { part: of, name: table }: TableEntry): string {
  return join(directory, of, `${table}.copy`)
}

export function lakeFile(directory: string, path: string): string {
  return join(directory, 'lake', ...path.split('/'))
}

export function manifestText(manifest: Manifest): { text: string; sum: string } {
  const text = `${JSON.stringify(manifest, null, 1)}\n`
  return { text, sum: `${createHash('sha256').update(text).digest('hex')}  ${manifestName}\n` }
}

/** Throws ConfigError where there is no backup, CorruptError naming the file where it is damaged. */
export async function readManifest(directory: string): Promise<Manifest> {
  const file = join(directory, manifestName)
  if (!(await stat(directory).catch(() => null))?.isDirectory()) throw new ConfigError(`There is no backup in ${directory}: name the folder that "tidemark backup" wrote.`)
  const bytes = await readFile(file).catch((thrown: unknown) => {
    throw new ConfigError(`${directory} is no backup, or one that was not finished: ${manifestName} cannot be read (${messageOf(thrown)}).`, { directory }, thrown)
  })
  const sum = (await readFile(join(directory, manifestSumName), 'utf8').catch(() => '')).slice(0, 64)
  if (createHash('sha256').update(bytes).digest('hex') !== sum) throw damaged(file, `it is not the one that ${manifestSumName} was made of`)
  let content: unknown
  try {
    content = JSON.parse(bytes.toString('utf8'))
  } catch (thrown) {
    throw damaged(file, messageOf(thrown), thrown)
  }
  const { format, tidemark } = content as { format?: unknown; tidemark?: unknown }
  if (typeof format === 'number' && format > backupFormat) {
    throw new ConfigError(`The backup in ${directory} was written by Tidemark ${String(tidemark)} in a form that this one does not know. Use Tidemark ${String(tidemark)}, or a newer one.`)
  }
  const read = manifestForm.safeParse(content)
  if (!read.success) throw damaged(file, read.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '))
  return read.data
}

export function damaged(file: string, why: string, cause?: unknown): CorruptError {
  return new CorruptError(`This backup is damaged: ${file}: ${why}. Use another copy of the backup.`, { file }, cause)
}
