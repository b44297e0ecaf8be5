/**
 * A shop on the real engines. `up --engines cluster` writes into the data folder that its shop runs on the engines started there (`engines up`); from then
 * on every command on that folder finds them by itself. What the environment says goes before.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '#core/errors.ts'
import { engineNames } from './engines/cluster.ts'
import { readState } from './engines/state.ts'
import { runningEngines } from './engines/status.ts'
import { environmentOf, urlsOf } from './engines/urls.ts'

export const markFile = 'cluster.json'

export const engineSets = ['embedded', 'cluster'] as const
export type EngineSet = (typeof engineSets)[number]

/** The settings that name the engines of this folder; none where its shop is on the embedded ones. */
export function clusterEnvironment(dataDirectory: string): Readonly<Record<string, string>> {
  if (!existsSync(join(dataDirectory, markFile))) return {}
  const state = readState(dataDirectory)
  if (state === null) throw new ConfigError(`The shop in ${dataDirectory} runs on engines that are gone: "tidemark engines up --data ${dataDirectory}" starts them.`)
  const started = engineNames.filter((name) => Object.keys(state.ports).some((member) => member === name || member.startsWith(`${name}-`) || (name === 'hdfs' && member === 'namenode')))
  return environmentOf(urlsOf(started, state))
}

/**
 * Puts the shop of this folder on the engines that run there. Throws ConfigError where they do not run, or where the folder has a shop on the other set:
 * a log's positions and a lake's files do not move over.
 */
export function chooseEngines(dataDirectory: string, chosen: EngineSet): void {
  const isCluster = existsSync(join(dataDirectory, markFile))
  if (chosen === 'embedded') {
    if (isCluster) throw new ConfigError(`The shop in ${dataDirectory} runs on the cluster's engines: say --engines cluster, or choose another --data folder.`)
    return
  }
  const { names } = runningEngines(dataDirectory)
  const missing = engineNames.filter((name) => !names.includes(name))
  if (missing.length > 0) throw new ConfigError(`${missing.join(', ')} do not run in ${dataDirectory}: "tidemark engines up --data ${dataDirectory}" starts them.`)
  if (isCluster) return
  if (existsSync(join(dataDirectory, 'postgres'))) throw new ConfigError(`${dataDirectory} holds a shop on the embedded engines: choose another --data folder for one on the cluster.`)
  writeFileSync(join(dataDirectory, markFile), '{ "engines": "cluster" }\n')
}
