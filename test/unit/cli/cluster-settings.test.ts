/** What a shop on the cluster's engines takes from them, and what the environment says instead. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { settingsOf } from '#cli/command.ts'
import { writeState } from '#cli/engines/state.ts'

const folders: string[] = []

afterEach(() => {
  vi.unstubAllEnvs()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function shopOnKafkaAndRedis(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  folders.push(folder)
  mkdirSync(join(folder, 'engines'))
  writeFileSync(join(folder, 'cluster.json'), '{ "engines": "cluster" }')
  writeState(folder, { version: 1, nodes: 1, ports: { 'kafka-1': { client: 1001, controller: 1002 }, redis: { client: 1003 } }, processes: [] })
  for (const name of ['LOG_URL', 'LOG_URL_FILE', 'JOBS_URL', 'JOBS_URL_FILE']) vi.stubEnv(name, undefined)
  return folder
}

test('the engines of the folder are used where the environment names no other', () => {
  const folder = shopOnKafkaAndRedis()
  vi.stubEnv('LOG_URL', 'kafka://other:9092')
  expect(settingsOf({ data: folder })).toMatchObject({ logUrl: 'kafka://other:9092', jobsUrl: 'redis://127.0.0.1:1003' })
})

test('a URL from a file goes before them as well', () => {
  const folder = shopOnKafkaAndRedis()
  const file = join(folder, 'log-url')
  writeFileSync(file, 'kafka://user:secret@other:9092\n')
  vi.stubEnv('LOG_URL_FILE', file)
  expect(settingsOf({ data: folder })).toMatchObject({ logUrl: 'kafka://user:secret@other:9092', jobsUrl: 'redis://127.0.0.1:1003' })
})
