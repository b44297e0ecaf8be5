/** Who may have a data folder. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { holdDataFolder } from '#cli/data-folder.ts'

let dataDirectory: string

beforeEach(async () => {
  dataDirectory = await mkdtemp(join(tmpdir(), 'tidemark-data-folder-'))
})
afterEach(async () => rm(dataDirectory, { recursive: true }))

test('one at a time, until it ends; the other is told which process has it', async () => {
  await using first = new AsyncDisposableStack()
  await using second = new AsyncDisposableStack()
  await holdDataFolder({ dataDirectory }, first)
  await expect(holdDataFolder({ dataDirectory }, second)).rejects.toMatchObject({ code: 'config', message: expect.stringContaining(`Process ${process.pid}, an "up" or a "restore", has the data folder`) as string })
  await first.disposeAsync()
  await holdDataFolder({ dataDirectory }, second)
})

test('a folder that takes no lock is named as such, not as taken', async () => {
  await writeFile(join(dataDirectory, 'up.lock'), 'a file where the lock is kept')
  await using resources = new AsyncDisposableStack()
  await expect(holdDataFolder({ dataDirectory }, resources)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/takes no lock \(EEXIST.*choose another with --data/) as string })
})
