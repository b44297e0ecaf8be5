/** Whether HDFS does what it is for, and its first folders: the lake's, and the one where Trino keeps its tables' names. */
import { z } from 'zod'
import { UnavailableError } from '#core/errors.ts'
import { cluster } from './cluster.ts'
import { fetchText } from './fetch-text.ts'

const state = z.object({ beans: z.array(z.object({ NumLiveDataNodes: z.number(), FSState: z.string() })) })

/** Throws while the NameNode is in safe mode or has fewer than so many live DataNodes. */
export async function lookAtHdfs(page: string, datanodes: number, signal: AbortSignal): Promise<void> {
  const { status, text } = await fetchText(`${page}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState`, { signal })
  const found = status === 200 ? state.safeParse(JSON.parse(text)).data?.beans[0] : undefined
  if (found === undefined) throw new UnavailableError('The NameNode does not tell its state yet.')
  if (found.FSState !== 'Operational') throw new UnavailableError(`The NameNode is in state "${found.FSState}".`)
  if (found.NumLiveDataNodes < datanodes) throw new UnavailableError(`${found.NumLiveDataNodes} of ${datanodes} DataNodes live.`)
}

/** Makes the folders, each owned by the user who writes there. Repeating it changes nothing. */
export async function settleHdfs(page: string, signal: AbortSignal): Promise<void> {
  const { folders, users } = cluster
  for (const folder of [folders.lake, folders.warehouse, `/user/${users.lake}`]) {
    await ask(page, folder, 'MKDIRS', { permission: '755' }, signal)
    await ask(page, folder, 'SETOWNER', { owner: users.lake, group: users.lake }, signal)
  }
  // Trino stages its writes there.
  await ask(page, '/tmp', 'MKDIRS', {}, signal)
  await ask(page, '/tmp', 'SETPERMISSION', { permission: '1777' }, signal)
}

async function ask(page: string, path: string, operation: string, parameters: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
  const query = new URLSearchParams({ op: operation, 'user.name': cluster.users.hdfs, ...parameters })
  const { status, text } = await fetchText(`${page}/webhdfs/v1${path}?${query}`, { method: 'PUT', signal })
  if (status !== 200) throw new UnavailableError(`HDFS refuses ${operation} of ${path} (${status}): ${text.slice(0, 300)}`)
}
