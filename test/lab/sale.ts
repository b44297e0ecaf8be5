/** A sale as a CSV line of the London shop, with the fact that it means: for tests that say exactly what was sold. */
import type { MeantAppend } from './shop-stream.ts'

export type Sale = {
  readonly id: string
  /** Default 0. */
  readonly partition?: number
  /** Local time, `2025-03-01 10:00:00`, which is also the default. */
  readonly at?: string
  /** ISO 8601; default an hour after `at` in UTC, as if London's clocks showed that. */
  readonly loggedAt?: string
  readonly city?: string
  readonly product?: string
  readonly category?: string
  readonly quantity?: number
  readonly unitMinor?: bigint
  /** It must be refused. */
  readonly refused?: boolean
}

export function sale(given: Sale): MeantAppend {
  const { id, partition = 0, at = '2025-03-01 10:00:00', city = 'London', product = 'P1', category = 'Home', quantity = 1, unitMinor = 1000n } = given
  const totalMinor = unitMinor * BigInt(quantity)
  const line = [id, '7', product, `"Product ${product}"`, category, String(quantity), pounds(unitMinor), pounds(totalMinor), at, `"${city}"`].join(',')
  const fact = { source: '', id, kind: 'sale', orderLine: 1, product, category, city, currency: 'GBP', quantity, totalMinor } as const
  return {
    partition,
    value: Buffer.from(line),
    logTimeMs: given.loggedAt === undefined ? Date.parse(`${at.replace(' ', 'T')}Z`) + 3_600_000 : Date.parse(given.loggedAt),
    meant: given.refused === true ? null : [{ ...fact, day: at.slice(0, 10), hour: Number(at.slice(11, 13)), fields: line }],
  }
}

function pounds(minor: bigint): string {
  const digits = minor.toString().padStart(3, '0')
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`
}
