/** The parts of webhdfs 1.2.0 that the HDFS lake uses; the package has no types of its own. */

declare module 'webhdfs' {
  import type { EventEmitter } from 'node:events'
  import type { Agent } from 'node:http'

  /** A request of the package's own HTTP client: emits `complete` with the answer and its body, parsed if it was JSON, or `error`. */
  export type PendingRequest = EventEmitter & { abort(): void }

  export type WebHdfsClient = {
    mkdir(path: string, permission: string, callback: () => void): PendingRequest
    unlink(path: string, recursive: boolean, callback: () => void): PendingRequest
    /** Makes the callback's error of an answer's body; throws on bodies that it does not expect. */
    _parseError: (body: unknown, strict: boolean, status: number) => Error
  }

  export type WebHdfsOptions = {
    readonly protocol: 'http' | 'https'
    readonly host: string
    readonly port: string
    readonly path: string
    readonly user?: string
  }

  /** Handed to every request: `proxy: null` ignores the environment's proxies, which it would follow. */
  export type RequestOptions = { readonly agent: Agent; readonly proxy: null; readonly followRedirect: false; readonly timeout: number }

  const webhdfs: { createClient(options: WebHdfsOptions, request: RequestOptions): WebHdfsClient }
  // The package is CommonJS with one object of exports.
  export default webhdfs
}
