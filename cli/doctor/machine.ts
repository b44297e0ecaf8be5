/** This machine: Node, memory, disk, the data folder, the port, and the engines that were started here. */
import { constants, existsSync } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { clusterEnvironment } from '../cluster-environment.ts'
import { isPortFree } from '../engines/ports.ts'
import { engineStatus } from '../engines/status.ts'
import type { Settings } from '../settings.ts'
import type { Examination, Report } from './finding.ts'
import { bytesText, shareText } from './units.ts'

const MiB = 1024 * 1024
const nodeMajorMin = 24
/** The four processes of a shop, without the query engine's memory and the ledger's. */
const processesBytes = 450 * MiB
const ledgerBytesPerId = 34
const diskFailBytes = 512 * MiB
const diskWarnBytes = 5 * 1024 * MiB
/** PostgreSQL, HDFS and Elasticsearch all stop writing before a disk is quite full. */
const diskWarnShare = 0.05
const answerWithinMs = 3_000

export function machineExaminations(settings: Settings): readonly Examination[] {
  const timeoutMs = 8_000
  return [
    { area: 'machine', check: 'node', fix: 'Start it with ./tidemark, which brings its own Node.', timeoutMs, look: async (report) => lookAtNode(report) },
    { area: 'machine', check: 'memory', fix: 'See how much memory this process may use.', timeoutMs, look: async (report) => lookAtMemory(report, settings) },
    { area: 'machine', check: 'data folder', fix: 'Name another folder with --data.', timeoutMs, look: (report) => lookAtFolder(report, settings.dataDirectory) },
    { area: 'machine', check: 'port', fix: 'Choose another port with --port or TIDEMARK_PORT.', timeoutMs, look: (report) => lookAtPort(report, settings) },
    { area: 'machine', check: 'engines', fix: `tidemark engines status --data ${settings.dataDirectory}`, timeoutMs, look: async (report) => lookAtEngines(report, settings.dataDirectory) },
  ]
}

function lookAtNode(report: Report): void {
  const major = Number.parseInt(process.versions.node, 10)
  if (major < nodeMajorMin) report.fail('node', `Node ${process.versions.node} is too old: TypeScript runs as it is from ${nodeMajorMin} on`, 'Start it with ./tidemark after `npm ci`, which brings its own Node.')
  else report.ok('node', `${process.versions.node} on ${process.platform} ${process.arch}, ${availableParallelism()} processors`)
}

function lookAtMemory(report: Report, { ledgerIdsMax, queryMemoryMb, queryUrl }: Settings): void {
  const available = process.availableMemory()
  const least = processesBytes + (queryUrl.startsWith('trino://') ? 0 : queryMemoryMb * MiB)
  const full = least + ledgerIdsMax * ledgerBytesPerId
  if (available < least) return report.fail('memory', `${bytesText(available)} to be had, and a shop needs ${bytesText(least)} from the start`, 'End other programs, raise the limit of this container, or lower TIDEMARK_QUERY_MEMORY_MB.')
  if (available < full) return report.warn('memory', `${bytesText(available)} to be had; with a full ledger a shop needs ${bytesText(full)}`, 'Lower TIDEMARK_LEDGER_IDS (the de-duplication window) or give it more memory. Of a running shop this counts its own memory as taken.')
  report.ok('memory', `${bytesText(available)} to be had of ${bytesText(Math.min(totalmem(), process.constrainedMemory() || Infinity))}`)
}

/** A folder that is not there yet is made in the nearest that is. */
export async function lookAtFolder(report: Report, folder: string): Promise<void> {
  const place = nearestExisting(folder)
  try {
    await access(place, constants.R_OK | constants.W_OK | constants.X_OK)
    report.ok('data folder', place === folder ? `${folder} is writable` : `${folder} will be made`)
  } catch {
    report.fail('data folder', `this user may not write to ${place}`, `Name another with --data, or give this user the folder: chown -R $(id -un) ${place}`)
  }
  const { bavail, blocks, bsize } = await statfs(place)
  const free = bavail * bsize
  const total = blocks * bsize
  const says = `${bytesText(free)} free of ${bytesText(total)} (${shareText(free / total)}) where ${place} is`
  if (free < diskFailBytes) report.fail('disk', says, 'Free space, or name a folder on another disk with --data: PostgreSQL stops at a full disk.')
  else if (free < diskWarnBytes || free < total * diskWarnShare) report.warn('disk', says, 'Free space before it is full: the archive keeps every event, and HDFS and Elasticsearch stop writing at 90 to 95 %.')
  else report.ok('disk', says)
}

export function nearestExisting(folder: string): string {
  let place = folder
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place)
  return place
}

async function lookAtPort(report: Report, { host, port }: Settings): Promise<void> {
  if (await isPortFree(port)) return report.ok('port', `${port} is free`)
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  const answer = await fetch(`http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}/livez`, { redirect: 'error', signal: AbortSignal.timeout(answerWithinMs) })
    .then((response) => response.text())
    .catch(() => '')
  if (answer === '{"live":true}') report.ok('port', `${port} serves a Tidemark`)
  else report.warn('port', `another program listens on ${port}`, 'The next free port is taken, and said at the start; for a fixed one end that program, or set TIDEMARK_PORT.')
}

/** Of a shop that runs on engines of `tidemark engines up`; others are asked by their URLs alone. */
function lookAtEngines(report: Report, dataDirectory: string): void {
  if (Object.keys(clusterEnvironment(dataDirectory)).length === 0) return
  const members = engineStatus(dataDirectory)
  const away = members.filter(({ pid }) => pid === null)
  for (const { name, log } of away) report.fail(`process ${name}`, `it was started here and does not run; its last words are in ${log}`, `tidemark engines up --data ${dataDirectory}`)
  if (away.length === 0) report.ok('engines', `${members.map(({ name }) => name).join(', ')} run`)
}
