/** Where a text that names a person still stands. */
import { parquetReadObjects } from 'hyparquet'
import type { HdfsFolder } from '#test/contract/hdfs-folder.ts'
import type { Lab } from '#test/lab.ts'

/** Tables with a row that holds the text, as it is or as the bytes of a column. */
export async function tablesWith({ database }: Lab, text: string): Promise<string[]> {
  const found: string[] = []
  const { rows } = await database.pool.query<{ tablename: string }>('SELECT tablename FROM pg_tables WHERE schemaname = $1', [database.schema])
  for (const { tablename } of rows) {
    const hex = Buffer.from(text).toString('hex')
    const held = await database.pool.query(`SELECT FROM ${tablename} t WHERE t::text LIKE '%${text}%' OR t::text LIKE '%${hex}%' LIMIT 1`)
    if (held.rowCount !== 0) found.push(tablename)
  }
  return found
}

type Listing = { readonly FileStatuses: { readonly FileStatus: readonly { readonly pathSuffix: string; readonly type: string }[] } }

/** Files below the folder of HDFS that hold the text, in their bytes or in any value: read by a plain client and by hyparquet, whatever the register says. */
export async function hdfsFilesWith(folder: HdfsFolder, text: string, below = ''): Promise<string[]> {
  const found: string[] = []
  const { json } = await folder.call('GET', 'LISTSTATUS', below)
  for (const { pathSuffix, type } of (json as Listing).FileStatuses.FileStatus) {
    const path = below === '' ? pathSuffix : `${below}/${pathSuffix}`
    if (type === 'DIRECTORY') found.push(...(await hdfsFilesWith(folder, text, path)))
    else if (await holds(path, await folder.read(path), text)) found.push(path)
  }
  return found
}

async function holds(path: string, bytes: Buffer, text: string): Promise<boolean> {
  if (bytes.includes(text)) return true
  if (!path.endsWith('.parquet')) return false
  const rows = await parquetReadObjects({ file: new Uint8Array(bytes).buffer, utf8: false })
  return rows.some((row) => Object.values(row).some((value) => textOf(value).includes(text)))
}

function textOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)
}
