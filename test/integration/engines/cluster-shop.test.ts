/** The commands about a shop on the cluster's engines, as a person calls them: with the engines, without them, and to be rid of them. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { stopEngines } from '#cli/engines/stop.ts'

const main = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url))
const hasRedis = spawnSync('redis-server', ['--version']).status === 0
const folders: string[] = []

afterEach(async () => {
  for (const folder of folders.splice(0)) {
    if (existsSync(join(folder, 'engines', 'state.json'))) await stopEngines(folder).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
})

function clusterFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  folders.push(folder)
  writeFileSync(join(folder, 'cluster.json'), '{ "engines": "cluster" }\n')
  return folder
}

function tidemark(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 60_000, env: { PATH: process.env['PATH'], ...environment } })
  return { status, stdout, stderr }
}

describe.skipIf(!hasRedis)('a shop whose engines are gone (skipped where redis-server is missing)', () => {
  test('gets them back by the command that its error names', () => {
    const folder = clusterFolder()
    expect(tidemark(['query', 'revenue', '--data', folder])).toMatchObject({ status: 2, stderr: expect.stringContaining(`engines up --data ${folder}`) })
    expect(tidemark(['engines', 'status', '--data', folder])).toMatchObject({ stdout: expect.stringMatching(/No engine was started/) })
    expect(tidemark(['engines', 'up', 'redis', '--data', folder])).toMatchObject({ status: 0, stdout: expect.stringMatching(/redis:\/\//) })
  })
})

describe.skipIf(!hasRedis)('reset of a shop on the engines (skipped where redis-server is missing)', () => {
  test('refuses while they run and deletes nothing; then deletes them with all that they hold, and says so', () => {
    const folder = clusterFolder()
    expect(tidemark(['engines', 'up', 'redis', '--data', folder]).status).toBe(0)
    mkdirSync(join(folder, 'lake'))
    writeFileSync(join(folder, 'notes.txt'), 'not of Tidemark')
    expect(tidemark(['reset', '--yes', '--data', folder])).toMatchObject({ status: 2, stderr: expect.stringContaining(`redis): "tidemark engines down --data ${folder}"`) })
    expect(readdirSync(folder).toSorted()).toEqual(['cluster.json', 'engines', 'lake', 'notes.txt'])
    expect(tidemark(['engines', 'down', '--data', folder]).status).toBe(0)
    expect(tidemark(['reset', '--yes', '--data', folder])).toMatchObject({ status: 0, stdout: expect.stringMatching(/engines, with the log, the lake.*are deleted/) })
    expect(readdirSync(folder)).toEqual(['notes.txt'])
  })

  test('works where the engines are gone already', () => {
    const folder = clusterFolder()
    expect(tidemark(['reset', '--yes', '--data', folder])).toMatchObject({ status: 0 })
    expect(readdirSync(folder)).toEqual([])
  })
})

test('a machine that can run none of the engines is told so by the exit code', () => {
  const folder = clusterFolder()
  const answer = tidemark(['engines', 'up', '--data', folder, '--cache', join(folder, 'cache')], { PATH: join(folder, 'nothing') })
  expect(answer).toMatchObject({ status: 4, stdout: expect.stringMatching(/No engine can be run here/) })
})
