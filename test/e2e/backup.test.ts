/** A shop of the embedded engines is backed up and put back on another machine's folder, by the commands that a person gives. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-backup-e2e-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function tidemark(...args: string[]): Promise<{ code: number; printed: string; said: string }> {
  const environment = { ...process.env, DATABASE_URL: '', LOG_URL: '', LAKE_URL: '', QUERY_URL: '', JOBS_URL: '', SEARCH_URL: '' }
  return promisify(execFile)(process.execPath, [main, ...args], { env: environment, timeout: 120_000 }).then(
    ({ stdout, stderr }) => ({ code: 0, printed: stdout, said: stderr }),
    (thrown: { code?: number; stdout?: string; stderr?: string }) => ({ code: thrown.code ?? -1, printed: thrown.stdout ?? '', said: thrown.stderr ?? '' }),
  )
}

test('backup, restore and check work as their help says', async () => {
  const [first, second, backup] = [join(folder, 'first'), join(folder, 'second'), join(folder, 'backup')]
  const lines = Array.from({ length: 40 }, (_, n) => `${n},7,P${n % 3},"Product","Home",1,1.50,1.50,2025-03-0${1 + (n % 9)} 10:00:00,"London"`)
  await writeFile(join(folder, 'sales.csv'), `${lines.join('\n')}\n`)
  expect(await tidemark('ingest', join(folder, 'sales.csv'), '--data', first, '--quiet')).toMatchObject({ code: 0 })
  expect(await tidemark('batch', 'run', '--data', first, '--quiet')).toMatchObject({ code: 0 })
  const revenue = ['query', 'revenue', '--by', 'day', '--json', '--quiet', '--data']
  const rowsOf = (printed: string): unknown => (JSON.parse(printed) as { rows: unknown }).rows
  const before = rowsOf((await tidemark(...revenue, first)).printed)
  const made = await tidemark('backup', backup, '--data', first, '--json', '--quiet')
  expect(made.code, made.said).toBe(0)
  const said = JSON.parse(made.printed) as { files: number; batch: number; log: string }
  expect(said).toMatchObject({ batch: 1, log: 'held', lake: 'held' })
  expect(said.files).toBeGreaterThan(0)
  expect(await tidemark('backup', backup, '--data', first)).toMatchObject({ code: 2, said: expect.stringMatching(/exists already/) })
  expect(await tidemark('restore', backup, '--data', first)).toMatchObject({ code: 2, said: expect.stringMatching(/There is a store in schema tidemark already/) })
  const restored = await tidemark('restore', backup, '--data', second)
  expect(restored, restored.said).toMatchObject({ code: 0, printed: expect.stringMatching(/Restored the store of .* \(batch 1, epoch 2\)/) })
  expect(rowsOf((await tidemark(...revenue, second)).printed)).toEqual(before)
  expect(await tidemark('restore', '--check', '--deep', '--data', second, '--json')).toMatchObject({ code: 0, printed: expect.stringContaining('"missing": []') })
  const named = join(folder, 'named')
  expect(await tidemark('backup', named, '--no-lake', '--data', first)).toMatchObject({ code: 0 })
  expect(await tidemark('restore', named, '--check', '--deep', '--data', second, '--json')).toMatchObject({ code: 0, printed: expect.stringMatching(/"lake": "named"[^]*"compared": true[^]*"missing": \[\],\s*"damaged": \[\],\s*"deep": true/) })
  expect(await tidemark('restore', named, '--check', '--data', join(folder, 'nowhere'))).toMatchObject({ code: 0, printed: expect.stringContaining('There is no lake here to compare those names with') })
  await rm(join(second, 'lake', 'transactions'), { recursive: true })
  expect(await tidemark('restore', named, '--check', '--data', second)).toMatchObject({ code: 3, printed: expect.stringMatching(/0 of \d+ registered files are in the lake\.\n.*missing from the lake:\n {2}transactions\//) })
  const lacking = await tidemark('restore', '--check', '--data', second)
  expect(lacking).toMatchObject({ code: 3, printed: expect.stringMatching(/registered files are missing from the lake:\n {2}transactions\//) })
  const copies = (await readdir(join(backup, 'lake'), { recursive: true })).filter((name) => name.endsWith('.parquet'))
  await rm(join(backup, 'lake', copies[0]!))
  expect(await tidemark('restore', backup, '--check')).toMatchObject({ code: 1, said: expect.stringMatching(/This backup is damaged: .*\.parquet: it is not there/) })
})
