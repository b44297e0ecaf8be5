/**
 * One HTTP exchange with Trino, through the trino-client package. Of the package only its request function is used, which knows the protocol's
 * headers and credentials. Its iterator is not: it loses an error or rows of the first response, hands out the error of a later page as rows, gives up at
 * the first 503, has no time-outs, and rounds integers beyond 2^53 (docs/decisions/0014-trino-over-named-files.md). So each request gets the time-out, the
 * raw text and the status that the package withholds.
 */
import { BasicAuth, Trino } from 'trino-client'
import { ConfigError, InvalidRequestError } from '#core/errors.ts'

export type TrinoAddress = {
  /** `http://host:port`. */
  readonly origin: string
  readonly user: string
  readonly password: string
  readonly catalog: string
}

export type TrinoReply = { readonly status: number; readonly text: string }

export type TrinoRequest = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Absolute, or below the origin. */
  readonly url: string
  readonly body?: string
  readonly signal: AbortSignal
}

/** Headers of one query; the package keeps what a response sets, so no two queries share one. */
export type TrinoExchange = (request: TrinoRequest) => Promise<TrinoReply>

/** One page of rows has some 16 MB at most; beyond this it is no answer of Trino. */
const replyBytesMax = 256 * 1024 * 1024

type RequestFunction = { request(config: Readonly<Record<string, unknown>>): Promise<TrinoReply> }

/** Reads `trino://user[:password]@host:port/catalog`, or `trinos://` for TLS. Throws ConfigError that says what a URL looks like. */
export function parseTrinoUrl(text: string): TrinoAddress {
  const url = URL.canParse(text) ? new URL(text.replace(/^trino(s?):/, 'http$1:')) : null
  const catalog = url?.pathname.slice(1) ?? ''
  if (url === null || !/^trinos?:\/\//.test(text) || !/^[a-z][a-z0-9_]*$/.test(catalog) || url.search !== '' || url.hash !== '') {
    throw new ConfigError('QUERY_URL should be trino://user@host:port/catalog, for example trino://tidemark@127.0.0.1:8080/hive (trinos:// for TLS)')
  }
  if (url.password !== '' && url.protocol === 'http:' && !/^(localhost|127\..*|\[::1\])$/.test(url.hostname)) {
    throw new ConfigError('QUERY_URL holds a password and would send it in clear: write trinos:// for TLS.')
  }
  return { origin: url.origin, user: decodeURIComponent(url.username) || 'tidemark', password: decodeURIComponent(url.password), catalog }
}

export function openExchange(address: TrinoAddress, schema: string, session: Readonly<Record<string, string>>): TrinoExchange {
  const trino = Trino.create({
    server: address.origin,
    source: 'tidemark',
    catalog: address.catalog,
    schema,
    session,
    auth: new BasicAuth(address.user, address.password),
    // Without the capability Trino cuts timestamps to milliseconds on their way out, and says nothing of it.
    extraHeaders: { 'X-Trino-Time-Zone': 'UTC', 'X-Trino-Client-Capabilities': 'PARAMETRIC_DATETIME' },
  })
  const client = (trino as unknown as { client: RequestFunction | undefined }).client
  if (typeof client?.request !== 'function') throw new ConfigError('The package trino-client is not the version that this adapter was written for: run `npm ci`')
  return ({ method, url, body, signal }) =>
    client.request({
      method,
      url,
      ...(body === undefined ? {} : { data: body, headers: { 'Content-Type': 'text/plain; charset=utf-8' } }),
      signal,
      responseType: 'text',
      // The environment's proxies are for the internet.
      proxy: false,
      maxRedirects: 0,
      maxContentLength: replyBytesMax,
      validateStatus: () => true,
      transformResponse: (text: unknown, _headers: unknown, status: number): TrinoReply => ({ status, text: typeof text === 'string' ? text : '' }),
    })
}

/** A page may name any address as the next: credentials and queries go to one origin only. */
export function belongsTo(address: TrinoAddress, url: string): boolean {
  return URL.canParse(url) && new URL(url).origin === address.origin
}

const namePattern = /^[A-Za-z_][A-Za-z0-9_]*$/

export function quoteName(name: string): string {
  if (namePattern.test(name)) return `"${name}"`
  throw new InvalidRequestError(`"${name}" is no name of a table or column: use letters, digits and _, beginning with no digit`, { name })
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
