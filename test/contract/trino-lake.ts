/** A plain lake over WebHDFS for the suites of Trino, with nothing of the adapter's care: it shows what the query engine does by itself. */
import { strict as assert } from 'node:assert'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { ConflictError, CorruptError, UnavailableError } from '#core/errors.ts'
import type { Lake, LakeEntry, LakeFile } from '#core/ports.ts'
import { testEngine } from '../engines.ts'

type Status = { pathSuffix: string; type: 'FILE' | 'DIRECTORY'; length: number; modificationTime: number }

/** `hdfs` is host:port of WebHDFS, `rpc` the URL under which Trino knows the same NameNode, `root` an absolute folder. */
export function openPlainHdfsLake(hdfs: string, rpc: string, root: string): Lake {
  const url = (path: string, query: string): string => `http://${hdfs}/webhdfs/v1${root}/${path}?user.name=hdfs&op=${query}`

  async function call(method: string, path: string, query: string, body?: Uint8Array): Promise<{ bytes: Buffer; json: unknown } | null> {
    let answer = await send(method, url(path, query))
    if (answer.status === 307) answer = await send(method, answer.location, body)
    if (answer.status === 404) return null
    if (answer.status >= 300) throw new UnavailableError(`WebHDFS answers ${answer.status} to ${query} of ${path}: ${answer.bytes.toString()}`)
    return { bytes: answer.bytes, get json() { return JSON.parse(answer.bytes.toString()) as unknown } }
  }

  async function stat(path: string): Promise<LakeEntry | null> {
    const response = await call('GET', path, 'GETFILESTATUS')
    if (response === null) return null
    const { FileStatus: status } = response.json as { FileStatus: Status }
    return { path, bytes: status.length, modifiedMs: status.modificationTime }
  }

  async function get(path: string): Promise<LakeFile> {
    const entry = await stat(path)
    if (entry === null) throw new CorruptError(`${path} is missing`, { path })
    const read = async (from: number, to: number): Promise<Uint8Array> => {
      const response = await call('GET', path, `OPEN&offset=${from}&length=${to - from}`)
      return response!.bytes
    }
    return { path, bytes: entry.bytes, read: (from, to) => (from === to ? Promise.resolve(new Uint8Array()) : read(from, to)) }
  }

  async function move(from: string, to: string): Promise<void> {
    await call('PUT', to.split('/').slice(0, -1).join('/'), 'MKDIRS')
    const response = await call('PUT', from, `RENAME&destination=${encodeURIComponent(`${root}/${to}`)}`)
    const { boolean } = response!.json as { boolean: boolean }
    if (!boolean) throw new ConflictError(`${to} exists, or ${from} does not`)
  }

  async function* list(prefix: string): AsyncGenerator<LakeEntry> {
    const response = await call('GET', prefix, 'LISTSTATUS')
    if (response === null) return
    const { FileStatuses } = response.json as { FileStatuses: { FileStatus: Status[] } }
    for (const status of FileStatuses.FileStatus) {
      const path = [prefix, status.pathSuffix].filter((part) => part !== '').join('/')
      if (status.type === 'DIRECTORY') yield* list(path)
      else yield { path, bytes: status.length, modifiedMs: status.modificationTime }
    }
  }

  return {
    async put(path, body, verify) {
      const parts: Uint8Array[] = []
      for await (const part of body) parts.push(part)
      const temporary = `${path.split('/').slice(0, -1).join('/')}/_${randomBytes(6).toString('hex')}`
      await call('PUT', temporary, 'CREATE', new Uint8Array(Buffer.concat(parts)))
      await verify(await get(temporary))
      await move(temporary, path)
      return (await stat(path))!
    },
    get,
    stat,
    list,
    move,
    async remove(path) {
      await call('DELETE', path, 'DELETE&recursive=true')
    },
    location: (path) => `${rpc}${root}/${path}`,
    [Symbol.asyncDispose]: async () => {},
  }
}

/** By node:http, since a DataNode's "100 Continue", which nobody asked for, is an error to fetch. */
async function send(method: string, url: string, body?: Uint8Array): Promise<{ status: number; location: string; bytes: Buffer }> {
  const sent = request(url, { method, agent: false, timeout: 30_000 })
  sent.on('timeout', () => sent.destroy(new Error(`${url} is silent`)))
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return { status: response.statusCode ?? 0, location: response.headers.location ?? '', bytes: Buffer.concat(parts) }
}

/** A lake of its own, in a folder that is removed at its end. */
export async function openTestLake(name: string): Promise<Lake> {
  const hdfs = testEngine('hdfs')
  assert(hdfs !== null, 'no HDFS')
  const lake = openPlainHdfsLake(hdfs, testEngine('hdfsRpc') ?? 'hdfs://127.0.0.1:19000', `/tidemark-test/${name}`)
  return { ...lake, [Symbol.asyncDispose]: () => lake.remove('') }
}

export function testTrinoUrl(): string {
  const url = testEngine('trino')
  assert(url !== null, 'no Trino')
  return `trino://tidemark@${new URL(url).host}/hive`
}
