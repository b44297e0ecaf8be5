/** Three shops: one with a story for people to look at, two with the shape of a load. Shares are of all events unless said otherwise. */
import { ConfigError } from '#core/errors.ts'

export type ProfileName = 'shop' | 'bench' | 'sparse'

export type Profile = {
  readonly name: ProfileName
  readonly cities: number
  readonly categories: number
  readonly products: number
  readonly customers: number
  /** Zipf exponents times ten. */
  readonly productTenths: number
  readonly cityTenths: number
  /** Weeks, seasons, evenings, a peak in November and a city that fails for a day; else an even flow. */
  readonly story: boolean
  /** Commas, quotes and right-to-left text in product names. */
  readonly oddNames: boolean
  /** Of all orders: one CSV line; the rest is JSON, as single events or as an order with lines. */
  readonly csvShare: number
  /** Of all JSON orders. */
  readonly jsonOrderShare: number
  readonly refundShare: number
  readonly copyShare: number
  /** Copies in other bytes, in bursts, and of whole orders; else the same bytes again. */
  readonly copiesVary: boolean
  readonly conflictShare: number
  readonly rubbishShare: number
  /** Records of 200 KB and more, at most two of a kind. */
  readonly heavyRubbish: boolean
  /** Of all orders: late by up to three days; by months; ahead of their log time; on the edge of a day or in a night of changing clocks. */
  readonly lateShare: number
  readonly monthsLateShare: number
  readonly aheadShare: number
  readonly edgeShare: number
  readonly defaultEvents: number
  readonly defaultDays: number
}

const SHOP: Profile = {
  name: 'shop',
  cities: 12,
  categories: 8,
  products: 200,
  customers: 20_000,
  productTenths: 8,
  cityTenths: 7,
  story: true,
  oddNames: true,
  csvShare: 0.5,
  jsonOrderShare: 0.5,
  refundShare: 0.04,
  copyShare: 0.02,
  copiesVary: true,
  conflictShare: 0.0005,
  rubbishShare: 0.001,
  heavyRubbish: true,
  lateShare: 0.02,
  monthsLateShare: 0.001,
  aheadShare: 0.002,
  edgeShare: 0.003,
  defaultEvents: 180_000,
  defaultDays: 396,
}

/** PERFORMANCE.md, harness rule 3: plain CSV lines, so that competitors read the same bytes. */
const BENCH: Profile = {
  ...SHOP,
  name: 'bench',
  cities: 50,
  categories: 12,
  products: 2000,
  customers: 200_000,
  productTenths: 11,
  cityTenths: 10,
  story: false,
  oddNames: false,
  csvShare: 1,
  jsonOrderShare: 0,
  refundShare: 0,
  copyShare: 0.05,
  copiesVary: false,
  conflictShare: 0,
  heavyRubbish: false,
  monthsLateShare: 0,
  aheadShare: 0,
  edgeShare: 0,
  defaultEvents: 2_000_000,
}

/** Flat enough that a year has 0.14 cells a sale of (day, city, category) and 0.7 of (day, product): the ratios of a real shop. */
const SPARSE: Profile = {
  ...BENCH,
  name: 'sparse',
  cities: 450,
  categories: 12,
  products: 90_000,
  productTenths: 9,
  cityTenths: 17,
  defaultEvents: 1_000_000,
  defaultDays: 365,
}

const PROFILES: Readonly<Record<ProfileName, Profile>> = { shop: SHOP, bench: BENCH, sparse: SPARSE }

export const PROFILE_NAMES: readonly ProfileName[] = ['shop', 'bench', 'sparse']

/** Throws ConfigError for a name that is none of PROFILE_NAMES. */
export function profileNamed(name: string): Profile {
  const found = PROFILE_NAMES.find((known) => known === name)
  if (found === undefined) throw new ConfigError(`No profile is called ${JSON.stringify(name)}; use one of ${PROFILE_NAMES.join(', ')}.`, { name })
  return PROFILES[found]
}
