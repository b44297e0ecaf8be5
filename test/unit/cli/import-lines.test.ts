/** Chunks of an import's files: every line once, at its place, however they are cut; and nothing behind what was imported without proof of it. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { emptySha256 } from '#store/imports.ts'
import type { ImportChunk } from '#speed/import.ts'
import { importFolder } from '#test/lab/imports.ts'
import type { LinesOptions } from '../../../cli/import-lines.ts'
import { checkImportFiles, readImportChunks } from '../../../cli/import-lines.ts'

const start = { nextOffset: 0, contentSha256: emptySha256, finishedAt: null }
let folder: Awaited<ReturnType<typeof importFolder>>

beforeAll(async () => {
  folder = await importFolder()
})
afterAll(() => folder[Symbol.asyncDispose]())

async function chunksOf(paths: readonly string[], options: Partial<LinesOptions> = {}, stands: Parameters<typeof readImportChunks>[1] = start): Promise<ImportChunk[]> {
  const chunks: ImportChunk[] = []
  for await (const chunk of readImportChunks({ name: 'old-shop', paths, chunkLinesMax: 100, chunkBytesMax: 1_000_000, signal: new AbortController().signal, ...options }, stands)) chunks.push(chunk)
  return chunks
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const linesIn = (chunks: readonly ImportChunk[]): [number, string][] => chunks.flatMap(({ lines }) => lines.map(({ offset, value }): [number, string] => [offset, Buffer.from(value).toString()]))

test('lines keep their numbers over files, packed or not, with empty ones between them, whatever ends them', async () => {
  const paths = [await folder.write('a.csv', '\ufeffone\r\n\r\ntwo'), await folder.write('b.csv.gz', 'three\n\n\nfour\n'), await folder.write('c.csv', '')]
  const expected = [[0, 'one'], [2, 'two'], [3, 'three'], [6, 'four']]
  for (let chunkLinesMax = 1; chunkLinesMax < 9; chunkLinesMax++) {
    const chunks = await chunksOf(paths, { chunkLinesMax })
    expect(linesIn(chunks)).toEqual(expected)
    expect(chunks.map(({ from }) => from)).toEqual([0, ...chunks.slice(0, -1).map(({ to }) => to)])
    expect(chunks.at(-1)).toMatchObject({ to: 7, contentSha256: sha256('one\n\ntwo\nthree\n\n\nfour\n') })
  }
  const [whole] = await chunksOf(paths)
  expect(whole!.files).toEqual([
    { name: 'a.csv', fromOffset: 0, toOffset: 3 },
    { name: 'b.csv.gz', fromOffset: 3, toOffset: 7 },
    { name: 'c.csv', fromOffset: 7, toOffset: 7 },
  ])
})

test('a chunk is also cut by its bytes', async () => {
  const path = await folder.write('long.csv', `${'x'.repeat(600)}\n`.repeat(5))
  expect((await chunksOf([path], { chunkBytesMax: 1_000 })).map(({ to }) => to)).toEqual([2, 4, 5])
})

test('what is imported is read again and proven; what follows it comes with the sum of all', async () => {
  const path = await folder.write('again.csv', 'a\nb\nc\n')
  const chunks = await chunksOf([path], {}, { nextOffset: 2, contentSha256: sha256('a\nb\n'), finishedAt: null })
  expect(linesIn(chunks)).toEqual([[2, 'c']])
  expect(chunks[0]!.contentSha256).toBe(sha256('a\nb\nc\n'))
  await expect(chunksOf([path], {}, { nextOffset: 2, contentSha256: sha256('a\nB\n'), finishedAt: null })).rejects.toThrow('brings other lines than the 2')
  await expect(chunksOf([path], {}, { nextOffset: 4, contentSha256: sha256('a\nb\nc\nd\n'), finishedAt: null })).rejects.toThrow('has 3 lines where 4')
  await expect(chunksOf([path], {}, { nextOffset: 2, contentSha256: sha256('a\nb\n'), finishedAt: '2026-01-01' })).rejects.toThrow('has more lines than the 2')
  expect(await chunksOf([path], {}, { nextOffset: 3, contentSha256: sha256('a\nb\nc\n'), finishedAt: '2026-01-01' })).toEqual([])
})

test('files that are not there, are no files of lines, or begin otherwise than said are refused before anything begins', async () => {
  const [csv, json] = [await folder.write('one.csv', '1,2\n'), await folder.write('one.jsonl', '{}\n')]
  await checkImportFiles({ paths: [csv, json, '-'] })
  await checkImportFiles({ paths: [json], format: 'jsonl' })
  await expect(checkImportFiles({ paths: [csv, json], format: 'csv' })).rejects.toThrow('begins with JSON, and --format says csv')
  await expect(checkImportFiles({ paths: [`${csv}.none`] })).rejects.toThrow('There is no file')
  const { rename } = await import('node:fs/promises')
  const packed = `${await folder.write('no.csv', 'not packed\n')}.gz`
  await rename(packed.slice(0, -3), packed)
  await expect(checkImportFiles({ paths: [packed] })).rejects.toThrow('it is no whole gzip file')
})
