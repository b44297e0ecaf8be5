/** The lake's URL: `webhdfs://host:port[,host:port…]/folder?user=NAME&datanodes=HOST[:PORT],…`, and what the query engine calls the same folder. */
import { ConfigError } from '#core/errors.ts'
import { isLakePath } from './lake-path.ts'

export type HdfsAddress = {
  /** Each `http://host:port`, in the order in which they are tried at first. */
  readonly nameNodes: readonly string[]
  /** The lake's folder, absolute and without a slash at its end. */
  readonly root: string
  /** Who asks; null leaves it to the server, which then takes its static user. */
  readonly user: string | null
  /** DataNodes that a redirect may name though the NameNode does not report them: `host` or `host:port`. */
  readonly dataNodes: ReadonlySet<string>
  /** The lake's folder as the query engine names it. */
  readonly location: string
}

const form = 'webhdfs://namenode:9870/shopsphere?user=tidemark, several NameNodes divided by commas'
const userPattern = /^[A-Za-z_][A-Za-z0-9._@-]*\$?$/
const authorityPattern = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}$/
const dataNodePattern = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?$/
const knownParameters: ReadonlySet<string> = new Set(['user', 'datanodes'])

/** An empty `location` is `hdfs:///folder`, the file system that the query engine's own Hadoop configuration names first (fs.defaultFS). Throws ConfigError. */
export function parseHdfsUrl(url: string, location: string): HdfsAddress {
  const parts = /^webhdfs:\/\/([^/?#]+)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(url)
  if (parts === null || parts[1]!.includes('@')) throw new ConfigError(`LAKE_URL is no address of a lake on HDFS: give ${form}; WebHDFS knows no password`)
  const authorities = parts[1]!.split(',')
  for (const authority of authorities) {
    if (!authorityPattern.test(authority)) throw new ConfigError(`"${authority}" in the lake's URL is no host:port of a NameNode's web address: give ${form}`)
  }
  const root = (parts[2] ?? '').replace(/\/+$/, '')
  if (!isLakePath(root.slice(1))) throw new ConfigError(`The lake's URL names no folder that a lake may have ("${root}"): give ${form}`)
  const parameters = new URLSearchParams(parts[3] ?? '')
  for (const name of parameters.keys()) {
    if (!knownParameters.has(name)) throw new ConfigError(`The lake's URL has the parameter "${name}": only user and datanodes are known`)
  }
  const user = parameters.get('user')
  if (user !== null && !userPattern.test(user)) throw new ConfigError(`"${user}" in the lake's URL is no name of a user of HDFS`)
  const dataNodes = (parameters.get('datanodes') ?? '').split(',').filter((name) => name !== '')
  for (const name of dataNodes) {
    if (!dataNodePattern.test(name)) throw new ConfigError(`"${name}" in the lake's URL is no DataNode: give datanodes=host:port, divided by commas`)
  }
  return {
    nameNodes: authorities.map((authority) => `http://${authority.toLowerCase()}`),
    root,
    user,
    dataNodes: new Set(dataNodes.map((name) => name.toLowerCase())),
    location: locationOf(location, root),
  }
}

function locationOf(location: string, root: string): string {
  if (location === '') return `hdfs://${root}`
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s?#'"]*$/.test(location)) {
    throw new ConfigError(`"${location}" is no place that a query engine could read: give hdfs://namenode:8020${root}, or leave it empty for hdfs://${root}`, { location })
  }
  return location.replace(/\/+$/, '')
}
