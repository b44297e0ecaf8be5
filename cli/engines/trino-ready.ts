/** Whether Trino does what it is for: started, and a query over the catalog of the lake answered. */
import { z } from 'zod'
import { UnavailableError } from '#core/errors.ts'
import { cluster } from './cluster.ts'
import { fetchText } from './fetch-text.ts'

const pagesMax = 200
const page = z.object({ nextUri: z.string().optional(), error: z.object({ message: z.string() }).optional() })

export async function lookAtTrino(url: string, signal: AbortSignal): Promise<void> {
  const info = await fetchText(`${url}/v1/info`, { signal })
  if (!/"starting"\s*:\s*false/.test(info.text)) throw new UnavailableError('Trino is still starting.')
  await query(url, 'SELECT 1', signal)
  await query(url, 'SHOW SCHEMAS FROM hive', signal)
}

async function query(url: string, sql: string, signal: AbortSignal): Promise<void> {
  const headers = { 'X-Trino-User': cluster.users.lake }
  let answer = await fetchText(`${url}/v1/statement`, { method: 'POST', body: sql, headers, signal })
  for (let pages = 0; pages < pagesMax; pages++) {
    if (answer.status !== 200) throw new UnavailableError(`Trino answers ${answer.status} to "${sql}".`)
    const { nextUri, error } = page.parse(JSON.parse(answer.text))
    if (error !== undefined) throw new UnavailableError(`Trino refuses "${sql}": ${error.message}`)
    if (nextUri === undefined) return
    answer = await fetchText(nextUri, { headers, signal })
  }
  throw new UnavailableError(`Trino does not finish "${sql}".`)
}
