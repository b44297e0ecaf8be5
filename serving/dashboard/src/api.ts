/** What the page asks of `/v1/*`. Money is digits in text: it is added as BigInt and shown by Intl, and never becomes a float. */
import type { Figures, MissingRange, Receipt } from '#core/receipt.ts'

export type { MinuteRow, PaceRow, ProductRow, Receipt, RevenueRow } from '#core/receipt.ts'
export type Measures = Figures
export type Answer<Row> = { readonly rows: readonly Row[]; readonly receipt: Receipt }

export type StatusPartition = { readonly topic: string; readonly partition: number; readonly nextOffset: number | string; readonly logEnd?: number | string | null }

export type Status = {
  readonly version: string
  readonly incarnation: string
  readonly zone: string
  readonly currency: string
  readonly today: string
  readonly speed: { readonly partitions: readonly StatusPartition[] }
  readonly stopped: readonly MissingRange[]
}

type Money = Pick<Figures, 'net' | 'netMinor'>

/** A frozen report in its newest version. */
export type ReportRow = {
  readonly kind: string
  readonly period: string
  readonly version: number
  readonly publishedAt: string
  readonly totals: readonly (Money & { readonly currency: string; readonly before: Money | null; readonly yearBefore: Money | null })[]
}

export type RestatementRow = {
  readonly kind: string
  readonly period: string
  readonly version: number
  readonly publishedAt: string
  readonly causes: readonly { readonly reason: string; readonly currency: string; readonly events: number; readonly difference: Money }[]
  readonly totals: readonly { readonly currency: string; readonly asPublished: Money; readonly asKnownNow: Money; readonly difference: Money }[]
}

/** The part of an answer that could not be had, with the reason in words. */
export class Problem extends Error {}

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
