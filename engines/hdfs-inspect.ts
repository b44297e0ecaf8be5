/** What an HDFS says of itself, and where it sends its writers: plain facts for whoever judges them. Nothing is changed. */
import { randomUUID } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import { messageOf } from '#core/errors.ts'
import { isException, parseJson, propertyOf } from './hdfs-errors.ts'
import type { HdfsLimits } from './hdfs-http.ts'
import { authorityOf } from './hdfs-http.ts'
import { NameNodes, valueOf } from './hdfs-name-nodes.ts'
import type { HdfsAddress } from './hdfs-url.ts'
import { parseHdfsUrl } from './hdfs-url.ts'

export type NameNodeFacts = {
  readonly host: string
  /** Why it cannot be asked, or null. */
  readonly failure: string | null
  readonly version: string
  /** `active`, `standby` or `observer`; empty where it does not tell. */
  readonly state: string
  /** Its own words while it takes no writes, else empty. */
  readonly safeMode: string
  /** `host:port` of the DataNodes' web servers, by name and by address. */
  readonly dataNodes: readonly { readonly name: string; readonly webHosts: readonly string[]; readonly version: string }[]
  readonly deadDataNodes: number
  readonly missingBlocks: number
  readonly capacityBytes: number
  readonly remainingBytes: number
}

/** Where a writer is sent. Asking for it writes nothing. */
export type HdfsRedirect = {
  readonly host: string
  readonly isReported: boolean
  /** What is wrong with the way there from here: its name leads nowhere, or nobody takes the connection. */
  readonly trouble: { readonly kind: 'name' | 'connection'; readonly text: string } | null
}

export type HdfsFacts = {
  readonly nameNodes: readonly NameNodeFacts[]
  readonly user: string | null
  /** The lake's folder; null where it is not there. */
  readonly root: { readonly path: string; readonly owner: string; readonly permission: string } | null
  readonly rootPath: string
  /** Why HDFS names no DataNode, or where it sends to. */
  readonly redirect: HdfsRedirect | { readonly refusal: string }
}

/** Throws ConfigError where the URL is none, UnavailableError where no NameNode answers; whatever else is wrong is a fact. */
export async function inspectHdfs(url: string, location: string, limits: HdfsLimits): Promise<HdfsFacts> {
  const address = parseHdfsUrl(url, location)
  using all = new NameNodes(address, limits)
  const asking = address.nameNodes.map((nameNode) => inspectNameNode({ ...address, nameNodes: [nameNode] }, limits))
  const [root, ...nameNodes] = await Promise.all([readRoot(all, address), ...asking])
  return { nameNodes, user: address.user, root, rootPath: address.root, redirect: await readRedirect(all, address, nameNodes, limits) }
}

async function inspectNameNode(address: HdfsAddress, limits: HdfsLimits): Promise<NameNodeFacts> {
  using nameNode = new NameNodes(address, limits)
  const { host } = new URL(address.nameNodes[0]!)
  try {
    const [info, status] = [await nameNode.bean('Hadoop:service=NameNode,name=NameNodeInfo'), await nameNode.bean('Hadoop:service=NameNode,name=NameNodeStatus')]
    return {
      host,
      failure: null,
      version: textOf(info, 'SoftwareVersion'),
      state: textOf(status, 'State'),
      safeMode: textOf(info, 'Safemode'),
      dataNodes: dataNodesOf(info),
      deadDataNodes: Object.keys(objectOf(parseJson(textOf(info, 'DeadNodes')))).length,
      missingBlocks: numberOf(info, 'NumberOfMissingBlocks'),
      capacityBytes: numberOf(info, 'Total'),
      remainingBytes: numberOf(info, 'Free'),
    }
  } catch (thrown) {
    return { host, failure: messageOf(thrown), version: '', state: '', safeMode: '', dataNodes: [], deadDataNodes: 0, missingBlocks: 0, capacityBytes: 0, remainingBytes: 0 }
  }
}

function dataNodesOf(info: unknown): NameNodeFacts['dataNodes'] {
  return Object.entries(objectOf(parseJson(textOf(info, 'LiveNodes')))).map(([name, node]) => {
    const hostname = name.slice(0, name.lastIndexOf(':'))
    const addresses = [textOf(node, 'infoAddr'), textOf(node, 'infoSecureAddr')].filter((text) => text !== '')
    return { name, webHosts: addresses.flatMap((text) => [text, hostname + text.slice(text.lastIndexOf(':'))]).map((text) => text.toLowerCase()), version: textOf(node, 'version') }
  })
}

async function readRoot(nameNodes: NameNodes, { root }: HdfsAddress): Promise<HdfsFacts['root']> {
  const doing = `look up ${root}`
  const outcome = await nameNodes.ask({ method: 'GET', op: 'GETFILESTATUS', path: root, doing }, (json) => propertyOf(json, 'FileStatus'))
  if ('refusal' in outcome && isException(outcome.refusal, 'FileNotFoundException')) return null
  const status = valueOf(outcome, doing)
  return { path: root, owner: textOf(status, 'owner'), permission: textOf(status, 'permission') }
}

async function readRedirect(nameNodes: NameNodes, { root, dataNodes }: HdfsAddress, facts: readonly NameNodeFacts[], { connectTimeoutMs }: HdfsLimits): Promise<HdfsFacts['redirect']> {
  const doing = 'ask where to write'
  let location: string
  try {
    const outcome = await nameNodes.ask({ method: 'PUT', op: 'CREATE', path: `${root}/_doctor-${randomUUID()}`, params: { noredirect: 'true', overwrite: 'false' }, doing }, (json) => {
      const found = propertyOf(json, 'Location')
      return typeof found === 'string' ? found : undefined
    })
    location = valueOf(outcome, doing)
  } catch (thrown) {
    return { refusal: messageOf(thrown) }
  }
  if (!URL.canParse(location)) return { refusal: `HDFS redirects to "${location.slice(0, 200)}", which is no address` }
  const url = new URL(location)
  const host = authorityOf(url)
  const isReported = dataNodes.has(host) || dataNodes.has(url.hostname) || nameNodes.isOneOf(host) || facts.some((one) => one.dataNodes.some(({ webHosts }) => webHosts.includes(host)))
  return { host, isReported, trouble: await troubleWith(url, connectTimeoutMs) }
}

async function troubleWith(url: URL, timeoutMs: number): Promise<HdfsRedirect['trouble']> {
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  try {
    await lookup(hostname)
  } catch (thrown) {
    return { kind: 'name', text: messageOf(thrown) }
  }
  const { promise, resolve } = Promise.withResolvers<HdfsRedirect['trouble']>()
  const socket = connect({ host: hostname, port: Number(url.port || (url.protocol === 'https:' ? 443 : 80)) })
  const timer = setTimeout(() => resolve({ kind: 'connection', text: `no connection within ${timeoutMs} ms` }), timeoutMs)
  socket.once('connect', () => resolve(null))
  socket.once('error', (error) => resolve({ kind: 'connection', text: error.message }))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

/** Removes the folder if it is empty; leaves it otherwise, or where HDFS does not want to. */
export async function removeEmptyFolder(url: string, location: string, folder: string, limits: HdfsLimits): Promise<void> {
  const address = parseHdfsUrl(url, location)
  using nameNodes = new NameNodes(address, limits)
  await nameNodes.delete(`${address.root}/${folder}`, `remove the folder ${folder}`, 1)
}

function textOf(value: unknown, name: string): string {
  const found = propertyOf(value, name)
  return typeof found === 'string' ? found : ''
}

function numberOf(value: unknown, name: string): number {
  const found = propertyOf(value, name)
  return typeof found === 'number' ? found : 0
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}
