/** A folder of its own on the tests' HDFS, removed afterwards, and a plain client of WebHDFS that shares no code with the lake. */
import { randomUUID } from 'node:crypto'

export type HdfsFolder = AsyncDisposable & {
  readonly nameNode: string
  /** Absolute path on HDFS. */
  readonly path: string
  /** The lake's URL, by way of `nameNode` unless another is given. */
  url(nameNode?: string): string
  /** One operation on a path below the folder, redirects followed. */
  call(method: string, op: string, path: string, params?: Readonly<Record<string, string>>, body?: Uint8Array): Promise<{ readonly status: number; readonly json: unknown }>
  /** Replaces or makes a file, as somebody else would. */
  plant(path: string, bytes: Uint8Array): Promise<void>
  read(path: string): Promise<Buffer>
}

export const hdfsUser = 'hdfs'

export function openHdfsFolder(nameNode: string): HdfsFolder {
  const path = `/tidemark-test/${randomUUID().slice(0, 8)}`
  const urlOf = (below: string, op: string, params: Readonly<Record<string, string>>): URL => {
    const url = new URL(`http://${nameNode}/webhdfs/v1${path}${below === '' ? '' : `/${below}`}`)
    url.search = new URLSearchParams({ op, 'user.name': hdfsUser, ...params }).toString()
    return url
  }
  const folder: HdfsFolder = {
    nameNode,
    path,
    url: (other = nameNode) => `webhdfs://${other}${path}?user=${hdfsUser}`,
    async call(method, op, below, params = {}, body) {
      const init = { method, redirect: 'manual', signal: AbortSignal.timeout(20_000) } as const
      let response = await fetch(urlOf(below, op, params), init)
      const location = response.headers.get('location')
      if (response.status === 307 && location !== null) response = await fetch(location, body === undefined ? init : { ...init, body: new Uint8Array(body) })
      const text = await response.text()
      return { status: response.status, json: text.startsWith('{') ? (JSON.parse(text) as unknown) : text }
    },
    async plant(below, bytes) {
      const { status, json } = await folder.call('PUT', 'CREATE', below, { overwrite: 'true' }, bytes)
      if (status !== 201) throw new Error(`planting ${below} failed: ${status} ${JSON.stringify(json)}`)
    },
    async read(below) {
      const response = await fetch(urlOf(below, 'OPEN', {}), { signal: AbortSignal.timeout(20_000) })
      if (response.status !== 200) throw new Error(`reading ${below} failed: ${response.status}`)
      return Buffer.from(await response.arrayBuffer())
    },
    async [Symbol.asyncDispose]() {
      await folder.call('DELETE', 'DELETE', '', { recursive: 'true' })
    },
  }
  return folder
}
