/** What a Trino says of itself: plain facts for whoever judges them. Nothing is changed. */
import { z } from 'zod'
import { UnavailableError, messageOf } from '#core/errors.ts'
import { TrinoSession } from './trino-session.ts'
import { parseTrinoUrl } from './trino-transport.ts'

export type TrinoFacts = {
  readonly origin: string
  readonly version: string
  readonly isStarting: boolean
  /** The catalog that the URL names. */
  readonly catalog: string
  /** Catalog → its connector. Empty while it starts. */
  readonly catalogs: ReadonlyMap<string, string>
}

const info = z.object({ nodeVersion: z.object({ version: z.string() }), starting: z.boolean() })

/** Throws ConfigError where the URL or the user is wrong, UnavailableError where it does not answer in time. */
export async function inspectTrino(url: string, timeoutMs: number): Promise<TrinoFacts> {
  const address = parseTrinoUrl(url)
  const { nodeVersion, starting } = await readInfo(address.origin, timeoutMs)
  const facts = { origin: address.origin, version: nodeVersion.version, isStarting: starting, catalog: address.catalog }
  if (starting) return { ...facts, catalogs: new Map() }
  const session = new TrinoSession(address, { requestTimeoutMs: timeoutMs, queryTimeoutMs: timeoutMs, retryBudgetMs: timeoutMs / 2 })
  try {
    const { rows } = await session.run({ doing: 'list the catalogs', sql: /* sql */ 'SELECT catalog_name, connector_name FROM system.metadata.catalogs' })
    return { ...facts, catalogs: new Map(rows.map(([catalog, connector]) => [String(catalog), String(connector)])) }
  } finally {
    await session.close()
  }
}

async function readInfo(origin: string, timeoutMs: number): Promise<z.output<typeof info>> {
  let text: string
  try {
    text = await (await fetch(`${origin}/v1/info`, { redirect: 'error', signal: AbortSignal.timeout(timeoutMs) })).text()
  } catch (thrown) {
    const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown
    throw new UnavailableError(`Trino at ${origin} does not answer: ${messageOf(cause)}`, {}, thrown)
  }
  const parsed = info.safeParse(jsonOf(text))
  if (parsed.success) return parsed.data
  throw new UnavailableError(`What answers at ${origin} is not Trino, or not yet: ${JSON.stringify(text.slice(0, 80))}`)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
