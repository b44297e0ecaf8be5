/** What the page asks of `/v1/*`. Money is digits in text: it is added as BigInt and shown by Intl, and never becomes a float. */

export type Measures = {
  readonly currency: string
  readonly transactions: number
  readonly orders: number
  readonly refundEvents: number
  readonly unitsSold: number
  readonly unitsRefunded: number
  readonly grossMinor: string
  readonly refundsMinor: string
  readonly netMinor: string
  readonly gross: string
  readonly refunds: string
  readonly net: string
}

export type RevenueRow = Measures & { readonly day?: string; readonly month?: string; readonly season?: string; readonly city?: string; readonly category?: string }
export type ProductRow = Measures & { readonly rank: number; readonly productId: string; readonly productName: string }
export type PaceRow = Pick<Measures, 'currency' | 'transactions' | 'netMinor'> & { readonly weekday: number; readonly hour: number }
export type MinuteRow = Pick<Measures, 'currency' | 'transactions' | 'grossMinor' | 'refundsMinor'> & { readonly minute: string }

export type Offsets = Readonly<Record<string, Readonly<Record<string, number | string>>>>
export type LayerShare = { readonly events: number; readonly netMinorByCurrency: Readonly<Record<string, string>> }
export type MissingRange = { readonly topic: string; readonly partition: number; readonly from: number | string; readonly to: number | string; readonly reason: string }

export type Receipt = {
  readonly incarnation: string
  readonly batch: { readonly id: number; readonly publishedAt: string | null }
  readonly horizon: Offsets
  readonly position: Offsets
  readonly asOf: string | null
  readonly fromBatch: LayerShare
  readonly fromSpeed: LayerShare
  readonly deduplication: { readonly windowIds: number; readonly scope: string }
  readonly lateEvents: number
  readonly refusedEvents: number
  readonly copies: number
  readonly conflicts: number
  readonly crossCheck: { readonly batch: number; readonly result: 'exact' | 'corrected' | 'none yet'; readonly corrections: number; readonly checkedAt: string | null }
  readonly complete: boolean
  readonly missing: readonly MissingRange[]
}

export type StatusPartition = { readonly topic: string; readonly partition: number; readonly nextOffset: number | string; readonly logEnd?: number | string | null }

export type Status = {
  readonly version: string
  readonly incarnation: string
  readonly zone: string
  readonly currency: string
  readonly today: string
  readonly speed: { readonly partitions: readonly StatusPartition[] }
  readonly stopped: readonly Readonly<Record<string, unknown>>[]
}

export type Answer<Row> = { readonly rows: readonly Row[]; readonly receipt: Receipt }

/** The part of an answer that could not be had, with the reason in words. */
export class Problem {
  readonly message: string

  constructor(message: string) {
    this.message = message
  }
}

/** One card's rows, or why there are none: a failing part leaves the other cards standing. */
export type Piece<Row> = readonly Row[] | Problem

/** An answer that takes longer counts as no answer. */
const requestTimeoutMs = 8_000

export type Fetched<T> = { readonly body: T; readonly serverNowMs: number | null }

/** Throws Problem, in words for the page, where there is no whole and good answer in time. */
export async function fetchJson<T>(path: string, signal?: AbortSignal): Promise<Fetched<T>> {
  const timeout = AbortSignal.timeout(requestTimeoutMs)
  try {
    const response = await fetch(path, { signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]), headers: { accept: 'application/json' }, cache: 'no-store' })
    if (!response.ok) throw new Problem(await describeFailure(response))
    const body = (await response.json()) as T
    const date = Date.parse(response.headers.get('date') ?? '')
    return { body, serverNowMs: Number.isNaN(date) ? null : date }
  } catch (error) {
    if (error instanceof Problem) throw error
    throw new Problem(timeout.aborted ? `The server gave no answer within ${requestTimeoutMs / 1000} seconds.` : 'The server cannot be reached.')
  }
}

async function describeFailure(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null)
  const message = typeof body === 'object' && body !== null && 'error' in body ? (body.error as { message?: unknown }).message : undefined
  return typeof message === 'string' ? message : `The server answered ${response.status} ${response.statusText}.`
}
