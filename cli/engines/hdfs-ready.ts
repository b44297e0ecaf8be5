/** Whether HDFS does what it is for, and its first folders: the lake's, and the one where Trino keeps its tables' names. */
import { z } from 'zod'
import { UnavailableError } from '#core/errors.ts'
import { cluster } from './cluster.ts'
import { fetchText } from './fetch-text.ts'

const namenodeState = z.object({ NumLiveDataNodes: z.number(), FSState: z.string() })
/** Of each NameNode that it serves; JSON within JSON. */
const datanodeState = z.object({ BPServiceActorInfo: z.string() })

/** Throws while the NameNode is in safe mode or counts too few DataNodes, or one of them has not joined: a dead one counts as live for 14 s. */
export async function lookAtHdfs(namenode: string, datanodes: readonly string[], signal: AbortSignal): Promise<void> {
  const { FSState, NumLiveDataNodes } = await readBean(namenode, 'Hadoop:service=NameNode,name=FSNamesystemState', namenodeState, signal)
  if (FSState !== 'Operational') throw new UnavailableError(`The NameNode is in state "${FSState}".`)
  if (NumLiveDataNodes < datanodes.length) throw new UnavailableError(`${NumLiveDataNodes} of ${datanodes.length} DataNodes live.`)
  for (const datanode of datanodes) {
    const { BPServiceActorInfo } = await readBean(datanode, 'Hadoop:service=DataNode,name=DataNodeInfo', datanodeState, signal)
    if (!/"ActorState":"RUNNING"/.test(BPServiceActorInfo)) throw new UnavailableError(`The DataNode at ${datanode} has not joined yet.`)
  }
}

/** One bean of a server's `/jmx`. */
async function readBean<T>(server: string, name: string, bean: z.ZodType<T>, signal: AbortSignal): Promise<T> {
  const { status, text } = await fetchText(`${server}/jmx?qry=${name}`, { signal })
  const found = status === 200 ? z.object({ beans: z.tuple([bean]) }).safeParse(JSON.parse(text)).data?.beans[0] : undefined
  if (found === undefined) throw new UnavailableError(`${server} does not tell its state yet.`)
  return found
}

/** Makes the folders, each owned by the user who writes there. Repeating it changes nothing. */
export async function settleHdfs(namenode: string, signal: AbortSignal): Promise<void> {
  const { folders, users } = cluster
  for (const folder of [folders.lake, folders.warehouse, `/user/${users.lake}`]) {
    await ask(namenode, folder, 'MKDIRS', { permission: '755' }, signal)
    await ask(namenode, folder, 'SETOWNER', { owner: users.lake, group: users.lake }, signal)
  }
  // Trino stages its writes there.
  await ask(namenode, '/tmp', 'MKDIRS', {}, signal)
  await ask(namenode, '/tmp', 'SETPERMISSION', { permission: '1777' }, signal)
}

async function ask(namenode: string, path: string, operation: string, parameters: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
  const query = new URLSearchParams({ op: operation, 'user.name': cluster.users.hdfs, ...parameters })
  const { status, text } = await fetchText(`${namenode}/webhdfs/v1${path}?${query}`, { method: 'PUT', signal })
  if (status !== 200) throw new UnavailableError(`HDFS refuses ${operation} of ${path} (${status}): ${text.slice(0, 300)}`)
}
