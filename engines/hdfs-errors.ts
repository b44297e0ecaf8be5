/** What HDFS's answers other than success mean to the caller. */
import { ConfigError, UnavailableError } from '#core/errors.ts'
import type { TidemarkError } from '#core/errors.ts'

/** HDFS's exception behind an HTTP status; the name is the class without its package, the message without the server's stack. */
export type RemoteException = { readonly name: string; readonly message: string }

/** An answer that is no success: with an exception of HDFS, or from something that is not WebHDFS. */
export type HdfsRefusal = { readonly status: number; readonly exception: RemoteException | null; readonly text: string }

const messageLengthMax = 300
/** A NameNode that is not the active one, or not ready: another, or the same a little later, will serve. */
const passingExceptions: ReadonlySet<string> = new Set(['StandbyException', 'RetriableException', 'SafeModeException', 'ObserverRetryOnActiveException', 'RpcNoSuchProtocolException'])
const deniedExceptions: ReadonlySet<string> = new Set(['AccessControlException', 'SecurityException', 'AuthorizationException', 'AuthenticationException', 'InvalidToken'])
const unspokenExceptions: ReadonlySet<string> = new Set(['IllegalArgumentException', 'UnsupportedOperationException', 'ParamException'])
const noRoom = /could only be (written|replicated) to \d+|No space left|DiskOutOfSpace|not have enough number of replicas|Failed to find datanode/i

/** The exception in an answer's body, parsed or as text; null where there is none. */
export function remoteExceptionOf(body: unknown): RemoteException | null {
  const parsed = typeof body === 'string' ? parseJson(body) : body
  const exception = propertyOf(parsed, 'RemoteException')
  const name = propertyOf(exception, 'exception')
  if (typeof name !== 'string') return null
  const message = propertyOf(exception, 'message')
  return { name: name.slice(name.lastIndexOf('.') + 1), message: typeof message === 'string' ? firstLine(message) : '' }
}

export function refusalOf(status: number, body: unknown): HdfsRefusal {
  return { status, exception: remoteExceptionOf(body), text: typeof body === 'string' ? firstLine(body) : '' }
}

/** Whether the same request may succeed in a moment. An answer without an exception of HDFS's is some other server's: a proxy, an overloaded front. */
export function isPassing({ status, exception }: HdfsRefusal): boolean {
  if (exception === null) return status !== 401
  return passingExceptions.has(exception.name) || status === 429 || status === 503
}

export function isException(refusal: HdfsRefusal, name: string): boolean {
  return refusal.exception?.name === name
}

/** `doing` reads as in "Cannot write a/b". */
export function translateRefusal(doing: string, host: string, refusal: HdfsRefusal): TidemarkError {
  const { status, exception, text } = refusal
  const name = exception?.name ?? ''
  const message = exception?.message ?? ''
  const details = { host, status, exception: name, message: exception === null ? text : message }
  if (deniedExceptions.has(name) || status === 401) {
    const fix = status === 401 ? 'it asks for Kerberos or a token, which this adapter does not have: put it behind a gateway that has' : 'make that user the owner of the lake’s folder (hdfs dfs -chown), or name the right one in the URL (?user=)'
    return new ConfigError(`Cannot ${doing}: HDFS at ${host} does not let this user: ${message}; ${fix}`, details)
  }
  if (unspokenExceptions.has(name)) return new ConfigError(`Cannot ${doing}: what answers at ${host} does not know the request (${message}): give a NameNode of Hadoop 3`, details)
  if (exception === null) {
    return new UnavailableError(`Cannot ${doing}: ${host} answers ${status} and not as WebHDFS does${text === '' ? '' : ` ("${text}")`}: see what listens there, and whether it is overloaded`, details)
  }
  return new UnavailableError(`Cannot ${doing} on HDFS at ${host}: ${adviceFor(name, message)}`, details)
}

function adviceFor(name: string, message: string): string {
  if (name === 'SafeModeException') {
    return `the NameNode is in safe mode and takes no writes. It leaves by itself once its DataNodes have reported their blocks; one that a person or a full disk began ends by "hdfs dfsadmin -safemode leave" (${message})`
  }
  if (name.endsWith('QuotaExceededException')) return `the folder's quota is used up: raise it (hdfs dfsadmin -setSpaceQuota, -setQuota) or remove files (${message})`
  if (noRoom.test(message)) return `no DataNode could take the block: start DataNodes or free space on their disks (${message})`
  if (name === 'StandbyException') return `none of the NameNodes named is active: see "hdfs haadmin -getAllServiceState" (${message})`
  return `${name}: ${message}`
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** An own property of what may be an object. */
export function propertyOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
}

function firstLine(text: string): string {
  return text.trimStart().split('\n', 1)[0]!.slice(0, messageLengthMax).trimEnd()
}
