/** A folder of its own on the tests' HDFS, removed afterwards, and a plain client of WebHDFS that shares no code with the lake. */
import { randomUUID } from 'node:crypto'
import { request } from 'node:http'

export type HdfsFolder = AsyncDisposable & {
  readonly nameNode: string
  /** Absolute path on HDFS. */
  readonly path: string
  /** The lake's URL, by way of `nameNode` unless another is given. */
  url(nameNode?: string): string
  /** One operation on a path below the folder, redirects followed. */
  call(method: string, op: string, path: string, params?: Readonly<Record<string, string>>, body?: Uint8Array): Promise<{ readonly status: number; readonly json: unknown }>
  /** Replaces or makes a file, as somebody else would. */
  plant(path: string, bytes: Uint8Array, params?: Readonly<Record<string, string>>): Promise<void>
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
      const first = await send(method, urlOf(below, op, params))
      const last = first.status === 307 ? await send(method, new URL(first.location), body) : first
      return { status: last.status, json: last.text.startsWith('{') ? (JSON.parse(last.text) as unknown) : last.text }
    },
    async plant(below, bytes, params = {}) {
      const { status, json } = await folder.call('PUT', 'CREATE', below, { overwrite: 'true', ...params }, bytes)
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

/** `fetch` takes a DataNode's unasked "100 Continue" for a broken answer. */
function send(method: string, url: URL, body?: Uint8Array): Promise<{ readonly status: number; readonly location: string; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, signal: AbortSignal.timeout(20_000), headers: { 'content-length': body?.byteLength ?? 0 } }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, location: response.headers.location ?? '', text }))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
