/** The reference tables: the newest record of each user and product. Newest by log time, which never goes back within a partition, then partition and offset. */
import type { Reference, ReferenceProduct, ReferenceUser } from '#core/decode-reference.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type ReferenceAt = { readonly reference: Reference; readonly logTimeMs: number; readonly partition: number; readonly offset: number }

/** Negative, zero or positive as `a` is older than, the same as, or newer than `b`. */
export function compareAges(a: Omit<ReferenceAt, 'reference'>, b: Omit<ReferenceAt, 'reference'>): number {
  return a.logTimeMs - b.logTimeMs || a.partition - b.partition || a.offset - b.offset
}

/** In any order and any number of times: the newest of each id stays. */
export async function putReferences(queryable: Queryable, references: readonly ReferenceAt[]): Promise<void> {
  const users = newestOf(references, (one): one is ReferenceAt & { reference: ReferenceUser } => one.reference.kind === 'user', ({ reference }) => reference.userId)
  const products = newestOf(references, (one): one is ReferenceAt & { reference: ReferenceProduct } => one.reference.kind === 'product', ({ reference }) => reference.productId)
  if (users.length > 0) await putUsers(queryable, users)
  if (products.length > 0) await putProducts(queryable, products)
}

/** One each, in order of id, so that two that put at once cannot deadlock. */
function newestOf<One extends ReferenceAt>(references: readonly ReferenceAt[], isOne: (one: ReferenceAt) => one is One, idOf: (one: One) => string): One[] {
  const newest = new Map<string, One>()
  for (const one of references) {
    if (!isOne(one)) continue
    const known = newest.get(idOf(one))
    if (known === undefined || compareAges(known, one) < 0) newest.set(idOf(one), one)
  }
  return [...newest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one)
}

const isNewer = 'WHERE (t.log_time_ms, t.partition, t.log_offset) < (EXCLUDED.log_time_ms, EXCLUDED.partition, EXCLUDED.log_offset)'

async function putUsers(queryable: Queryable, users: readonly (ReferenceAt & { readonly reference: ReferenceUser })[]): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    INSERT INTO reference_users AS t (user_id, name, email, city, log_time_ms, partition, log_offset)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::int[], $7::bigint[]) AS u (user_id, name, email, city, log_time_ms, partition, log_offset)
    ON CONFLICT (user_id) DO UPDATE SET name = EXCLUDED.name, email = EXCLUDED.email, city = EXCLUDED.city,
      log_time_ms = EXCLUDED.log_time_ms, partition = EXCLUDED.partition, log_offset = EXCLUDED.log_offset ${isNewer}`,
    [
      users.map(({ reference }) => reference.userId),
      users.map(({ reference }) => reference.name),
      users.map(({ reference }) => reference.email),
      users.map(({ reference }) => reference.city),
      ...positionsOf(users),
    ],
  )
}

async function putProducts(queryable: Queryable, products: readonly (ReferenceAt & { readonly reference: ReferenceProduct })[]): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    INSERT INTO reference_products AS t (product_id, name, category, brand, log_time_ms, partition, log_offset)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::int[], $7::bigint[]) AS p (product_id, name, category, brand, log_time_ms, partition, log_offset)
    ON CONFLICT (product_id) DO UPDATE SET name = EXCLUDED.name, category = EXCLUDED.category, brand = EXCLUDED.brand,
      log_time_ms = EXCLUDED.log_time_ms, partition = EXCLUDED.partition, log_offset = EXCLUDED.log_offset ${isNewer}`,
    [
      products.map(({ reference }) => reference.productId),
      products.map(({ reference }) => reference.name),
      products.map(({ reference }) => reference.category),
      products.map(({ reference }) => reference.brand),
      ...positionsOf(products),
    ],
  )
}

function positionsOf(references: readonly ReferenceAt[]): number[][] {
  return [references.map(({ logTimeMs }) => logTimeMs), references.map(({ partition }) => partition), references.map(({ offset }) => offset)]
}
