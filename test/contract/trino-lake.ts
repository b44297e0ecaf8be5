/** A lake on the tests' HDFS in a folder of its own, and Trino's address, for the suites that need both. */
import { strict as assert } from 'node:assert'
import { cluster } from '#cli/engines/cluster.ts'
import type { Lake } from '#core/ports.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { testEngine } from '../engines.ts'
import type { HdfsFolder } from './hdfs-folder.ts'
import { openHdfsFolder } from './hdfs-folder.ts'

export type TestLake = AsyncDisposable & { readonly lake: Lake; readonly folder: HdfsFolder }

export async function openTestLake(): Promise<TestLake> {
  const nameNode = testEngine('hdfs')
  assert(nameNode !== null, 'no HDFS')
  const folder = openHdfsFolder(nameNode)
  // Trino runs as the lake's user, who may not make folders wherever the tests do.
  await folder.call('PUT', 'MKDIRS', '', { permission: '755' })
  await folder.call('PUT', 'SETPERMISSION', '..', { permission: '755' })
  await folder.call('PUT', 'SETOWNER', '', { owner: cluster.users.lake })
  const lake = await openHdfsLake({ url: `webhdfs://${nameNode}${folder.path}?user=${cluster.users.lake}`, location: `${testEngine('hdfsRpc') ?? 'hdfs://127.0.0.1:19000'}${folder.path}` })
  return {
    lake,
    folder,
    [Symbol.asyncDispose]: async () => {
      await lake[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

/** Trino's address as the adapter takes it; `host` goes by way of a proxy. */
export function testTrinoUrl(host?: string): string {
  const url = testEngine('trino')
  assert(url !== null, 'no Trino')
  return `trino://tidemark@${host ?? new URL(url).host}/hive`
}

type Answer = { readonly nextUri?: string; readonly data?: readonly unknown[][]; readonly error?: { readonly message: string } }

/** Runs a statement without the adapter. Returns its rows. */
export async function runOnTrino(sql: string): Promise<unknown[][]> {
  const headers = { 'X-Trino-User': 'tidemark', 'X-Trino-Catalog': 'hive' }
  const ask = async (url: string, init: RequestInit): Promise<Answer> =>
    (await (await fetch(url, { ...init, headers, signal: AbortSignal.timeout(60_000) })).json()) as Answer
  const rows: unknown[][] = []
  let answer = await ask(`${testEngine('trino')}/v1/statement`, { method: 'POST', body: sql })
  for (;;) {
    if (answer.error !== undefined) throw new Error(answer.error.message)
    rows.push(...(answer.data ?? []))
    if (answer.nextUri === undefined) return rows
    answer = await ask(answer.nextUri, {})
  }
}
