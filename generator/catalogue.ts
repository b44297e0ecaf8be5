/**
 * What the simulated shop sells and where. It depends on the profile alone, never on the run's seed, so that live traffic and history of
 * different seeds sell the same products in the same cities.
 */
import type { Profile } from './profiles.ts'
import { Random } from './random.ts'
import { BRANDS, CATEGORIES, FOREIGN_NAMES, MANNERS, MATERIALS, MORE_CITIES, SHOP_CITIES, TOWN_BEGINNINGS, TOWN_ENDINGS } from './words.ts'

export type Product = {
  readonly productId: string
  readonly productName: string
  readonly category: string
  readonly brand: string | null
  readonly priceMinor: number
  /** Weight of each month, January first, in tenths. */
  readonly seasonTenths: readonly number[]
}

export type Catalogue = {
  /** By size, the largest first. */
  readonly cities: readonly string[]
  readonly categories: readonly string[]
  /** By popularity, the best seller first. */
  readonly products: readonly Product[]
}

/** Prices end the way shops like them. */
const PRICE_ENDINGS: readonly number[] = [0, 50, 95, 99]

function nameCities(count: number, worldwide: boolean): string[] {
  const names = worldwide ? [...SHOP_CITIES, ...MORE_CITIES] : [...SHOP_CITIES]
  for (const ending of TOWN_ENDINGS) for (const beginning of TOWN_BEGINNINGS) names.push(beginning + ending)
  if (names.length < count) throw new RangeError(`a profile may have ${names.length} cities at most`)
  return names.slice(0, count)
}

/** Categories beyond the list are departments of it: `Books 2`. */
function nameCategories(count: number): { readonly name: string; readonly words: (typeof CATEGORIES)[number] }[] {
  return Array.from({ length: count }, (_, i) => {
    const words = CATEGORIES[i % CATEGORIES.length]
    if (words === undefined) throw new RangeError('there are no categories')
    const round = Math.floor(i / CATEGORIES.length)
    return { name: round === 0 ? words.name : `${words.name} ${round + 1}`, words }
  })
}

export function buildCatalogue(profile: Profile): Catalogue {
  const random = new Random(0, `catalogue of ${profile.name}`)
  const categories = nameCategories(profile.categories)
  const digits = String(profile.products).length
  const products: Product[] = []
  for (let rank = 0; rank < profile.products; rank += 1) {
    const category = random.pick(categories)
    const { cheapestMinor, dearestMinor, things, seasonTenths } = category.words
    // Cubed: many cheap things, few dear ones.
    const dearness = random.unit() * random.unit() * random.unit()
    const roundMinor = Math.floor((cheapestMinor + dearness * (dearestMinor - cheapestMinor)) / 100) * 100
    const foreign = profile.oddNames && rank % 25 === 24
    const plainName = `${random.pick(MANNERS)} ${random.pick(MATERIALS)} ${profile.oddNames ? random.pick(things) : random.pick(things).replace(/[,"].*/, '')}`
    products.push({
      productId: `P-${String(rank + 1).padStart(digits, '0')}`,
      productName: foreign ? `${random.pick(FOREIGN_NAMES)} ${rank + 1}` : `${plainName} ${rank + 1}`,
      category: category.name,
      brand: random.chance(0.4) ? random.pick(BRANDS) : null,
      priceMinor: roundMinor + random.pick(PRICE_ENDINGS),
      seasonTenths,
    })
  }
  return { cities: nameCities(profile.cities, profile.cities > SHOP_CITIES.length), categories: categories.map(({ name }) => name), products }
}
