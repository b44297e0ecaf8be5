/**
 * The lake and the query engine over it, which go as a pair: a Parquet file of one row is put into a folder of its own, read back, counted by the query
 * engine, and removed again. That is how a writer's redirect is followed to a DataNode, and how Trino shows that it sees the same lake.
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { access, constants, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError, UnavailableError, messageOf } from '#core/errors.ts'
import type { Lake, ParquetColumn, QueryEngine } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import type { HdfsFacts, NameNodeFacts } from '#engines/hdfs-inspect.ts'
import type { HdfsLimits } from '#engines/hdfs-http.ts'
import { diskLakeRoot } from '#engines/open.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openTemporaryFolder } from '#engines/temporary-folder.ts'
import type { TrinoFacts } from '#engines/trino-inspect.ts'
import type { Settings } from '../settings.ts'
import type { Examination, Report } from './finding.ts'
import { nearestExisting } from './machine.ts'
import { bytesText, plural, shareText, versionAtLeast } from './units.ts'

/** Impatient: what is slower than this is a finding. */
const limits: HdfsLimits = { connectTimeoutMs: 3_000, answerTimeoutMs: 6_000, idleTimeoutMs: 6_000, continueWaitMs: 2_000, roundsMax: 2, backoffMs: 200, backoffMaxMs: 400 }
const lakeTimeoutMs = 40_000
const queryTimeoutMs = 60_000
const requestTimeoutMs = 10_000
const trinoVersionMin = 458
const hdfsWarnShare = 0.1

const columns: readonly ParquetColumn[] = [{ name: 'seen', type: 'int64', nullable: false }]

/** What was put for the query engine to see. */
type Probe = { readonly lake: Lake; readonly path: string }

export function lakeExaminations(settings: Settings): readonly Examination[] {
  const probe = Promise.withResolvers<Probe | null>()
  const queried = Promise.withResolvers<void>()
  const isHdfs = settings.lakeUrl.startsWith('webhdfs://')
  const fix = isHdfs ? 'Start the NameNode and DataNodes, or correct LAKE_URL.' : 'Name a folder that this user can write to, with LAKE_URL or --data.'
  return [
    {
      area: 'lake',
      check: isHdfs ? 'reachable' : 'write and read',
      fix,
      timeoutMs: lakeTimeoutMs + queryTimeoutMs,
      look: async (report, signal) => {
        try {
          if (isHdfs) await lookAtHdfs(report, settings)
          await withLake(settings, (lake, folder) => writeAndRead(report, lake, folder, signal, async (path) => {
            probe.resolve({ lake, path })
            await Promise.race([queried.promise, delay(queryTimeoutMs, undefined, { signal, ref: false }).catch(() => undefined)])
          }))
        } finally {
          probe.resolve(null)
        }
      },
    },
    {
      area: 'query',
      check: 'reachable',
      fix: settings.queryUrl.startsWith('trino') ? 'Start Trino, or correct QUERY_URL.' : 'Install again with `npm ci`: DuckDB comes with a library for this machine.',
      timeoutMs: lakeTimeoutMs + queryTimeoutMs,
      look: async (report) => {
        try {
          const facts = settings.queryUrl.startsWith('trino') ? await lookAtTrino(report, settings.queryUrl) : null
          if (facts === null || facts.catalogs.has(facts.catalog)) await seeLake(report, settings, await probe.promise)
        } finally {
          queried.resolve()
        }
      },
    },
  ]
}

async function withLake(settings: Settings, work: (lake: Lake, folder: string) => Promise<void>): Promise<void> {
  const folder = `_doctor-${randomBytes(4).toString('hex')}`
  const { lakeUrl, lakeLocation, dataDirectory } = settings
  const root = diskLakeRoot({ lakeUrl, dataDirectory })
  if (root === null) {
    const [{ openHdfsLake }, { removeEmptyFolder }] = await Promise.all([import('#engines/hdfs-lake.ts'), import('#engines/hdfs-inspect.ts')])
    await using lake = await openHdfsLake({ url: lakeUrl, location: lakeLocation, limits })
    try {
      await work(lake, folder)
    } finally {
      await removeEmptyFolder(lakeUrl, lakeLocation, folder, limits).catch(() => undefined)
    }
    return
  }
  if (existsSync(root)) return onDisk(root, folder, work)
  // Nothing is made where there is nothing: the look takes place beside it.
  await checkCanBeMade(root)
  await using stand = await openTemporaryFolder('doctor')
  await onDisk(stand.path, folder, work)
}

async function onDisk(root: string, folder: string, work: (lake: Lake, folder: string) => Promise<void>): Promise<void> {
  await using lake = await openDiskLake({ root })
  try {
    await work(lake, folder)
  } finally {
    await rmdir(join(root, folder)).catch(() => undefined)
  }
}

async function checkCanBeMade(root: string): Promise<void> {
  const place = nearestExisting(root)
  await access(place, constants.W_OK | constants.X_OK).catch((cause: unknown) => {
    throw new ConfigError(`The lake's folder ${root} cannot be made, since this user may not write to ${place}: name another with LAKE_URL or --data.`, {}, cause)
  })
}

async function writeAndRead(report: Report, lake: Lake, folder: string, signal: AbortSignal, whileThere: (path: string) => Promise<void>): Promise<void> {
  const path = `${folder}/probe.parquet`
  try {
    const entry = await lake.put(path, parquetCodec.encode(columns, [[[1n]]]), async () => {})
    const file = await lake.get(path)
    const bytes = await file.read(0, file.bytes)
    if (Buffer.from(bytes.subarray(0, 4)).toString('latin1') !== 'PAR1' || bytes.length !== entry.bytes) throw new UnavailableError('The file that was read back is not the one that was written.')
    report.ok('write and read', `a file of ${bytes.length} bytes was written, read back and removed`)
    signal.throwIfAborted()
    await whileThere(path)
  } catch (thrown) {
    report.fail('write and read', messageOf(thrown), 'See the lines on the lake above; nothing can be archived until a file can be written and read.')
  } finally {
    await lake.remove(path).catch((thrown: unknown) => report.warn('tidy', `the file ${path} is left behind: ${messageOf(thrown)}`, `Remove the folder ${folder} of the lake by hand.`))
  }
}

async function lookAtHdfs(report: Report, { lakeUrl, lakeLocation }: Settings): Promise<void> {
  const { inspectHdfs } = await import('#engines/hdfs-inspect.ts')
  judgeHdfs(report, await inspectHdfs(lakeUrl, lakeLocation, { ...limits, roundsMax: 1 }))
}

export function judgeHdfs(report: Report, { nameNodes, root, rootPath, user, redirect }: HdfsFacts): void {
  for (const nameNode of nameNodes) judgeNameNode(report, nameNode, nameNodes.length)
  const who = user ?? 'the static user of the NameNode'
  if (root === null) report.warn('folder', `${rootPath} is not there`, `hdfs dfs -mkdir ${rootPath} && hdfs dfs -chown ${user ?? 'tidemark'} ${rootPath}, unless ${who} may make it.`)
  else report.ok('folder', `${root.path} of ${root.owner}, ${root.permission}; asked as ${who}`)
  if ('refusal' in redirect) return report.fail('redirect', redirect.refusal, 'Start DataNodes that the NameNode can reach, and free space on their disks.')
  const { host, isReported, trouble } = redirect
  if (trouble?.kind === 'name') {
    report.fail(
      'redirect',
      `writers are sent to the DataNode ${host}, a name that this machine does not know (${trouble.text})`,
      'Set dfs.datanode.hostname in the DataNode\'s hdfs-site.xml to a name or address that leads to it from here (in docker its own host name is known to its network only), or add that name to /etc/hosts.',
    )
  } else if (trouble !== null) {
    report.fail('redirect', `writers are sent to the DataNode ${host}, which takes no connection (${trouble.text})`, 'Open that port (dfs.datanode.http.address) to this machine, or set dfs.datanode.hostname to an address that leads there from here.')
  } else if (!isReported) {
    report.fail('redirect', `writers are sent to ${host}, which is none of the DataNodes that the NameNode reports: nothing is sent there`, `If it is right, name it in LAKE_URL (?datanodes=${host}); else set dfs.datanode.hostname.`)
  } else report.ok('redirect', `followed to the DataNode ${host}`)
}

function judgeNameNode(report: Report, nameNode: NameNodeFacts, count: number): void {
  const check = count === 1 ? 'NameNode' : `NameNode ${nameNode.host}`
  if (nameNode.failure !== null) return report.warn(check, `${nameNode.host} does not tell of itself: ${nameNode.failure}`, 'Start it; where it is a gateway (HttpFS) that has no /jmx, see that the redirect and the file below are well.')
  const { version, state, safeMode, dataNodes, deadDataNodes, missingBlocks, capacityBytes, remainingBytes } = nameNode
  const others = [...new Set(dataNodes.map((node) => node.version).filter((found) => found !== '' && found !== version))]
  if (version !== '' && !versionAtLeast(version, 3, 0)) report.fail(check, `Hadoop ${version} is too old`, 'Use Hadoop 3: tests run on 3.5.')
  else if (others.length > 0) report.warn(check, `Hadoop ${version}, and DataNodes of ${others.join(', ')}`, 'Finish the upgrade of all DataNodes.')
  else report.ok(check, `${version === '' ? 'a NameNode that does not tell its version' : `Hadoop ${version}`} at ${nameNode.host}${state === '' ? '' : `, ${state}`}`)
  if (state === 'standby' || state === 'observer') return
  if (safeMode !== '') report.fail('safe mode', safeMode, 'It ends by itself once the DataNodes have reported; one that a person or a full disk began ends by: hdfs dfsadmin -safemode leave')
  if (dataNodes.length === 0) report.fail('DataNodes', 'none is alive', 'Start a DataNode, and see its log where it does not join.')
  else if (deadDataNodes > 0) report.warn('DataNodes', `${dataNodes.length} alive, ${deadDataNodes} dead`, 'Start the dead ones before another goes: hdfs dfsadmin -report names them.')
  else report.ok('DataNodes', `${dataNodes.length} alive`)
  if (missingBlocks > 0) report.fail('blocks', `${plural(missingBlocks, 'block')} without any copy`, 'hdfs fsck / -list-corruptfileblocks names the files; tidemark batch repair writes those of the archive again while the log has them.')
  if (capacityBytes === 0) return
  const free = `${bytesText(remainingBytes)} free (${shareText(remainingBytes / capacityBytes)})`
  if (remainingBytes < capacityBytes * hdfsWarnShare) report.warn('space', free, 'Add disks or DataNodes, or remove what others left: a full HDFS takes no archive.')
  else report.ok('space', free)
}

async function lookAtTrino(report: Report, url: string): Promise<TrinoFacts> {
  const { inspectTrino } = await import('#engines/trino-inspect.ts')
  const facts = await inspectTrino(url, requestTimeoutMs)
  judgeTrino(report, facts)
  return facts
}

export function judgeTrino(report: Report, { origin, version, isStarting, catalog, catalogs }: TrinoFacts): void {
  if (isStarting) return report.fail('reachable', `Trino ${version} at ${origin} is still starting`, 'Wait a minute and look again; see its log where it stays so (a catalog that does not load stops it).')
  report.ok('reachable', `Trino answers at ${origin}`)
  if (Number.parseInt(version, 10) < trinoVersionMin) report.warn('version', `Trino ${version} is older than any that was tried`, `Use ${trinoVersionMin} or newer, which reads HDFS with fs.hadoop.enabled; tests run on 476.`)
  else report.ok('version', `Trino ${version}`)
  const connector = catalogs.get(catalog)
  if (connector === undefined) report.fail('catalog', `there is no catalog ${catalog}, only ${[...catalogs.keys()].sort().join(', ')}`, `Put etc/catalog/${catalog}.properties there (connector.name=hive, fs.hadoop.enabled=true; hadoop/trino/catalog has one), or name another in QUERY_URL.`)
  else if (connector !== 'hive') report.fail('catalog', `the catalog ${catalog} is of the connector ${connector}`, 'Name one of the Hive connector in QUERY_URL: it reads the lake\'s Parquet files where they are.')
  else report.ok('catalog', `${catalog}, of the Hive connector`)
}

async function seeLake(report: Report, settings: Settings, probe: Probe | null): Promise<void> {
  const isTrino = settings.queryUrl.startsWith('trino')
  if (probe === null) return report.warn('sees the lake', 'could not be tried, since no file could be written to the lake', 'Mend the lake first.')
  await using stand = await openTemporaryFolder('doctor')
  try {
    await using engine = await openEngine(settings, probe.lake, stand.path)
    await engine.attach('tidemark_doctor', [probe.path], columns)
    const found: unknown[] = []
    for await (const { rows } of engine.query('SELECT count(*) AS files, sum(seen) AS seen FROM tidemark_doctor')) found.push(...rows.flat())
    if (String(found[0]) !== '1') throw new UnavailableError(`it counts ${String(found[0])} rows in a file of one`)
    report.ok('sees the lake', `${isTrino ? 'Trino' : 'DuckDB'} read the file that was written`)
  } catch (thrown) {
    report.fail('sees the lake', messageOf(thrown), isTrino ? fixOfTrino(messageOf(thrown), settings.lakeLocation) : 'Install again with `npm ci`: DuckDB comes with a library for this machine.')
  }
}

/** What Trino's own words mean to whoever set it up. */
export function fixOfTrino(message: string, lakeLocation: string): string {
  if (/No factory for location|No FileSystem for scheme|Hadoop.*not enabled/i.test(message)) return 'Put fs.hadoop.enabled=true into the catalog\'s properties and start Trino again: without it the Hive connector knows no hdfs://.'
  if (/UnknownHost|cannot be resolved|Name or service not known/i.test(message)) return `Let LAKE_LOCATION (${lakeLocation || 'empty'}) name the NameNode as Trino reaches it, and dfs.client.use.datanode.hostname fit its network.`
  if (/Connection refused|ConnectException|cannot read from HDFS/i.test(message)) return `Let LAKE_LOCATION (${lakeLocation || 'empty'}) be the address of the NameNode's RPC port, as Trino reaches it.`
  if (/Permission denied|AccessControl/i.test(message)) return 'Give the user of QUERY_URL the right to read the lake and to write below the warehouse (hive.metastore.catalog.dir).'
  return 'See Trino\'s log; LAKE_LOCATION must name the same folder as LAKE_URL, as Trino reaches it.'
}

async function openEngine(settings: Settings, lake: Lake, stand: string): Promise<QueryEngine> {
  if (!settings.queryUrl.startsWith('trino')) {
    const { openDuckDb } = await import('#engines/duckdb.ts')
    return openDuckDb({ lake, memoryLimitMb: settings.queryMemoryMb, tempDirectory: stand })
  }
  const { openTrino } = await import('#engines/trino.ts')
  return openTrino({ url: settings.queryUrl, lake, limits: { requestTimeoutMs, queryTimeoutMs: queryTimeoutMs / 2, retryBudgetMs: requestTimeoutMs / 3 } })
}
