/** Pages of a listing: a limit, and a cursor that names the last row of the page before, so that what is added meanwhile shifts nothing. */
import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { parseDay } from '#core/calendar.ts'
import { InvalidRequestError } from '#core/errors.ts'
import { textFault } from '#core/text.ts'
import type { Given } from './parameters.ts'
import { readWhole } from './parameters.ts'

const pageRowsDefault = 50
export const pageRowsMax = 200
const cursorBytesMax = 400
/** What the database takes of each; a time is in UTC ms. */
const wholeMax = { number: Number.MAX_SAFE_INTEGER, version: 2_147_483_647, time: Date.UTC(2200, 0, 1) } as const

export type Place = readonly (string | number)[]
type PlaceKind = 'day' | 'text' | keyof typeof wholeMax

export type Page<Kinds extends readonly PlaceKind[]> = { readonly limit: number; readonly after: { readonly [At in keyof Kinds]: Kinds[At] extends 'day' | 'text' ? string : number } | null }

export function readPage<const Kinds extends readonly PlaceKind[]>(given: Given, kinds: Kinds): Page<Kinds> {
  const { limit, cursor } = given
  return {
    limit: limit === undefined ? pageRowsDefault : readWhole('limit', limit, 1, pageRowsMax),
    after: cursor === undefined ? null : (readPlace(cursor, kinds) as Page<Kinds>['after']),
  }
}

function readPlace(cursor: string, kinds: readonly PlaceKind[]): Place {
  const values = cursor.length <= cursorBytesMax ? parsed(Buffer.from(cursor, 'base64url').toString()) : null
  if (!Array.isArray(values) || values.length !== kinds.length || !values.every((value, at) => isPlace(value, kinds[at]!))) {
    throw new InvalidRequestError('cursor is none that an answer of this address gave: take it from next, or begin without one.', { parameter: 'cursor' })
  }
  return values as Place
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function isPlace(value: unknown, kind: PlaceKind): boolean {
  if (kind !== 'day' && kind !== 'text') return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= wholeMax[kind]
  if (typeof value !== 'string') return false
  return kind === 'day' ? parseDay(value) !== null && value >= '1000' : textFault(value, cursorBytesMax) === null
}

/**
 * Of one row more than the page holds: the page's rows, and where the next begins. `next` is an address relative to the server's root, with the
 * parameters of this one.
 */
export function pageOf<Row>(request: FastifyRequest, rows: readonly Row[], limit: number, placeOf: (row: Row) => Place): { readonly rows: readonly Row[]; readonly next: string | null } {
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (rows.length <= limit || last === undefined) return { rows: page, next: null }
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  searchParams.set('cursor', Buffer.from(JSON.stringify(placeOf(last))).toString('base64url'))
  return { rows: page, next: `${pathname}?${searchParams.toString()}` }
}

/** Sends text with a digest of it as its ETag, or 304 to whom has it already. */
export function sendText(request: FastifyRequest, reply: FastifyReply, body: string, cacheControl = 'no-cache'): FastifyReply {
  const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`
  void reply.header('ETag', tag).header('Cache-Control', cacheControl)
  if (hasTag(request, tag)) return reply.code(304).send()
  return reply.type('application/json; charset=utf-8').send(body)
}

/** `*` is no promise about any version. */
export function hasTag(request: FastifyRequest, tag: string): boolean {
  return request.headers['if-none-match']?.split(',').some((candidate) => candidate.trim().replace(/^W\//, '') === tag) ?? false
}
