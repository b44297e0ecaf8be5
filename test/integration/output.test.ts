/** Readers of a command's output that leave early, as `head` does. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'

const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function start(...args: string[]): ReturnType<typeof spawn> {
  return spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
}

async function endOf(child: ReturnType<typeof spawn>): Promise<{ code: number | null; said: string }> {
  let said = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, said }
}

test('a command whose reader left does its work and ends as it does before a reader', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  folders.push(folder)
  const args = ['generate', '--events', '2000', '--out', join(folder, 'sales.csv'), '--json', '--quiet']
  const read = start(...args)
  read.stdout!.resume()
  expect(await endOf(read)).toEqual({ code: 0, said: '' })
  const left = start(...args)
  left.stdout!.destroy()
  expect(await endOf(left)).toEqual({ code: 0, said: '' })
})
