/** What the failures of Elasticsearch and of its client mean to the caller. */
import { errors } from '@elastic/elasticsearch'
import { ConfigError, ConflictError, InvalidRequestError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

type ErrorBody = { readonly error?: { readonly type?: string; readonly reason?: string; readonly index?: string } | string }

/** Statuses after which the same request, later, may succeed. */
export function isPassingStatus(status: number, type: string | undefined): boolean {
  // A disk that filled up blocks writes, with 429 or 403, until there is space again.
  return status === 429 || status >= 500 || (status === 403 && type === 'cluster_block_exception')
}

export function missingIndexError(index: string): ConflictError {
  return new ConflictError(`The index ${index} is not there: somebody removed it. The follower builds it anew; "tidemark search rebuild" does so at once.`, { missingIndex: index })
}

/** The index that an operation found missing, or null. */
export function translateSearchError(doing: string, index: string, thrown: unknown): TidemarkError {
  if (thrown instanceof TidemarkError) return thrown
  if (thrown instanceof errors.ResponseError) return translateResponse(doing, index, thrown)
  if (thrown instanceof errors.ProductNotSupportedError) {
    return new ConfigError(`What answers at SEARCH_URL is no Elasticsearch: check the address.`, { index }, thrown)
  }
  if (thrown instanceof errors.ConfigurationError) return new ConfigError(`Elasticsearch's client refuses its settings: ${thrown.message}`, { index }, thrown)
  return new UnavailableError(`Elasticsearch could not ${doing} now: ${messageOf(thrown)}`, { index }, thrown)
}

function translateResponse(doing: string, index: string, failure: errors.ResponseError): TidemarkError {
  const status = failure.statusCode ?? 0
  const { type, reason } = errorOf(failure.body)
  const details = { index, status, type }
  if (type === 'index_not_found_exception') return missingIndexError(index)
  if (isPassingStatus(status, type)) return new UnavailableError(`Elasticsearch could not ${doing} now (${status} ${type ?? ''}): ${reason}`, details, failure)
  if (status === 401 || status === 403) {
    return new ConfigError(`Elasticsearch does not let this user ${doing} (${status}): give SEARCH_URL a user with the right to it. ${reason}`, details, failure)
  }
  if (type === 'media_type_header_exception') return new ConfigError(`This Elasticsearch is of another major version than the client: use a server 9. ${reason}`, details, failure)
  return new InvalidRequestError(`Elasticsearch refuses to ${doing} (${status} ${type ?? ''}): ${reason}`, details)
}

export function errorOf(body: unknown): { readonly type: string | undefined; readonly reason: string } {
  const error = typeof body === 'object' && body !== null ? (body as ErrorBody).error : undefined
  if (typeof error === 'object') return { type: error.type, reason: error.reason ?? 'no reason is given' }
  return { type: undefined, reason: typeof error === 'string' ? error : String(body).slice(0, 200) }
}
