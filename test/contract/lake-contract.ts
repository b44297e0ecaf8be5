/** What every lake must do, as a suite over its adapters. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConflictError, CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Lake, LakeEntry, LakeFile } from '#core/ports.ts'
import { checkProperty } from './seeded-property.ts'

export type LakeUnderTest = AsyncDisposable & {
  /** An empty lake. */
  readonly lake: Lake
  /** Another client of the same lake, as another process would open it. */
  reopen(): Promise<Lake>
  /** Takes the engine away for the rest of the test. */
  breakDown(): Promise<void>
}

const accept = async (): Promise<void> => {}

export function testLake(name: string, open: () => Promise<LakeUnderTest>): void {
  describe(`lake: ${name}`, () => {
    let subject: LakeUnderTest
    let lake: Lake

    beforeEach(async () => {
      subject = await open()
      lake = subject.lake
    })
    afterEach(async () => {
      await subject[Symbol.asyncDispose]()
    })

    it('gives back the bytes that were put, whole and by range', async () => {
      const bytes = pattern(300_000)
      const entry = await lake.put('sales/logged=2025-03/a+b-c.parquet', chunksOf(bytes, 7_001), accept)
      expect(entry).toMatchObject({ path: 'sales/logged=2025-03/a+b-c.parquet', bytes: 300_000 })
      const file = await lake.get(entry.path)
      expect(file).toMatchObject({ path: entry.path, bytes: 300_000 })
      expect(await lake.stat(entry.path)).toEqual(entry)
      expect(Buffer.compare(await file.read(0, 300_000), bytes)).toBe(0)
      expect(Buffer.compare(await file.read(299_992, 300_000), bytes.subarray(299_992))).toBe(0)
      expect(Buffer.compare(await file.read(65_000, 66_000), bytes.subarray(65_000, 66_000))).toBe(0)
      expect((await file.read(5, 5)).byteLength).toBe(0)
    })

    it('refuses to read beyond the end, rather than giving less', async () => {
      await lake.put('short', chunksOf(pattern(10)), accept)
      const file = await lake.get('short')
      await expect(file.read(0, 11)).rejects.toBeInstanceOf(InvalidRequestError)
      await expect(file.read(-1, 5)).rejects.toBeInstanceOf(InvalidRequestError)
      await expect(file.read(6, 5)).rejects.toBeInstanceOf(InvalidRequestError)
    })

    it('keeps an empty file', async () => {
      expect(await lake.put('empty', chunksOf(Buffer.alloc(0)), accept)).toMatchObject({ bytes: 0 })
      expect((await (await lake.get('empty')).read(0, 0)).byteLength).toBe(0)
    })

    it('says null of what is not there, and names it where it is needed', async () => {
      expect(await lake.stat('nothing')).toBeNull()
      expect(await lake.stat('no/such/folder')).toBeNull()
      await expect(lake.get('no/such/file')).rejects.toThrow(CorruptError)
      await expect(lake.get('no/such/file')).rejects.toThrow('no/such/file')
      expect(await entriesOf(lake, 'no/such')).toEqual([])
    })

    it('never replaces: a put on an existing path fails the same way for every client', async () => {
      const first = await lake.put('a/file', chunksOf(Buffer.from('first')), accept)
      const other = await subject.reopen()
      for (const client of [lake, lake, other]) {
        await expect(client.put('a/file', chunksOf(Buffer.from('second')), accept)).rejects.toBeInstanceOf(ConflictError)
      }
      expect(await lake.stat('a/file')).toEqual(first)
      expect(await textOf(lake, 'a/file')).toBe('first')
      expect(await pathsOf(lake, '')).toEqual(['a/file'])
    })

    it('lets exactly one of many writers of a path win', async () => {
      const other = await subject.reopen()
      const writers = Array.from({ length: 8 }, (_, index) => `writer ${index}`)
      // All bodies are begun before any is finished, so that no writer can see another's file beforehand.
      const allBegun = gate(writers.length)
      const results = await Promise.allSettled(
        writers.map((text, index) => (index % 2 === 0 ? lake : other).put('raced', gatedBody(Buffer.from(text), allBegun), accept)),
      )
      const winners = results.flatMap((result, index) => (result.status === 'fulfilled' ? [writers[index]] : []))
      expect(winners).toHaveLength(1)
      expect(await textOf(lake, 'raced')).toBe(winners[0])
      for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(ConflictError)
      expect(await pathsOf(lake, '')).toEqual(['raced'])
    })

    it('shows no reader a part of a file', async () => {
      const other = await subject.reopen()
      const seen: string[][] = []
      async function* body(): AsyncGenerator<Uint8Array> {
        yield pattern(100_000)
        seen.push(await readersView(other, 'half/file'))
        yield pattern(100_000)
        seen.push(await readersView(other, 'half/file'))
      }
      await lake.put('half/file', body(), async () => {
        seen.push(await readersView(other, 'half/file'))
      })
      expect(seen).toEqual([['absent'], ['absent'], ['absent']])
      expect((await other.stat('half/file'))?.bytes).toBe(200_000)
    })

    it('lists an unfinished file under a name that begins with _', async () => {
      let unfinished: readonly string[] = []
      await lake.put('month/file', chunksOf(pattern(10)), async () => {
        unfinished = await pathsOf(lake, 'month')
      })
      expect(unfinished).toHaveLength(1)
      expect(unfinished[0]).toMatch(/^month\/_/)
      expect(await pathsOf(lake, 'month')).toEqual(['month/file'])
    })

    it('verifies the finished bytes under their later name', async () => {
      let seen: LakeFile | undefined
      let text = ''
      await lake.put('checked', chunksOf(Buffer.from('finished bytes'), 3), async (file) => {
        seen = file
        text = Buffer.from(await file.read(0, file.bytes)).toString()
      })
      expect(seen).toMatchObject({ path: 'checked', bytes: 14 })
      expect(text).toBe('finished bytes')
    })

    it('leaves nothing where verification refuses, and passes the refusal on', async () => {
      const refusal = new CorruptError('three rows are missing')
      await expect(lake.put('r/refused', chunksOf(pattern(10)), () => Promise.reject(refusal))).rejects.toBe(refusal)
      expect(await lake.stat('r/refused')).toBeNull()
      expect(await pathsOf(lake, '')).toEqual([])
      await lake.put('r/refused', chunksOf(pattern(5)), accept)
    })

    it('leaves nothing where the body fails, and passes the failure on', async () => {
      const failure = new Error('the log went away')
      async function* body(): AsyncGenerator<Uint8Array> {
        yield pattern(70_000)
        throw failure
      }
      await expect(lake.put('b/failed', body(), accept)).rejects.toBe(failure)
      expect(await lake.stat('b/failed')).toBeNull()
      expect(await pathsOf(lake, '')).toEqual([])
    })

    it.each(['', '/a', 'a/', 'a//b', '.', '..', 'a/../b', 'a/./b', '../a', 'a b', 'a\\b', 'a\nb', 'a%2e', "a'b", 'ä', 'a\0b', 'a:b', 'a*', `${'x'.repeat(256)}`])(
      'refuses the path %j everywhere',
      async (path) => {
        await lake.put('good', chunksOf(pattern(1)), accept)
        await expect(lake.put(path, chunksOf(pattern(1)), accept)).rejects.toBeInstanceOf(InvalidRequestError)
        await expect(lake.get(path)).rejects.toBeInstanceOf(InvalidRequestError)
        await expect(lake.stat(path)).rejects.toBeInstanceOf(InvalidRequestError)
        await expect(lake.remove(path)).rejects.toBeInstanceOf(InvalidRequestError)
        await expect(lake.move(path, 'other')).rejects.toBeInstanceOf(InvalidRequestError)
        await expect(lake.move('good', path)).rejects.toBeInstanceOf(InvalidRequestError)
        expect(() => lake.location(path)).toThrow(InvalidRequestError)
        expect(await pathsOf(lake, '')).toEqual(['good'])
      },
    )

    it('lists by path exactly what lies below a folder', async () => {
      const segment = fc.constantFrom('a', 'a-b', 'a.b', 'a0', 'b', 'b=1', '_c', 'Z')
      const path = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => `${segments.join('/')}/f`)
      const paths = fc.uniqueArray(path, { minLength: 1, maxLength: 8 })
      let round = 0
      await checkProperty(
        fc.asyncProperty(paths, async (wanted) => {
          const base = `round${round++}`
          for (const one of wanted) await lake.put(`${base}/${one}`, chunksOf(pattern(3)), accept)
          const full = wanted.map((one) => `${base}/${one}`).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
          expect(await pathsOf(lake, base)).toEqual(full)
          expect(await pathsOf(lake, `${base}/a`)).toEqual(full.filter((one) => one.startsWith(`${base}/a/`)))
          for (const entry of await entriesOf(lake, base)) expect(await lake.stat(entry.path)).toEqual(entry)
        }),
        15,
      )
    })

    it('moves a file, and never onto another', async () => {
      await lake.put('from/a', chunksOf(Buffer.from('a')), accept)
      await lake.put('to/b', chunksOf(Buffer.from('b')), accept)
      await expect(lake.move('from/a', 'to/b')).rejects.toBeInstanceOf(ConflictError)
      await expect(lake.move('from/a', 'from/a')).rejects.toBeInstanceOf(ConflictError)
      expect([await textOf(lake, 'from/a'), await textOf(lake, 'to/b')]).toEqual(['a', 'b'])
      await lake.move('from/a', '_orphans/new/a')
      expect(await pathsOf(lake, '')).toEqual(['_orphans/new/a', 'to/b'])
      expect(await textOf(lake, '_orphans/new/a')).toBe('a')
      await expect(lake.move('from/a', 'to/c')).rejects.toBeInstanceOf(CorruptError)
    })

    it('removes a file, and does not mind one that is gone', async () => {
      await lake.put('r/a', chunksOf(pattern(1)), accept)
      await lake.remove('r/a')
      await lake.remove('r/a')
      await lake.remove('never/was')
      expect(await lake.stat('r/a')).toBeNull()
      await lake.put('r/a', chunksOf(pattern(2)), accept)
    })

    it('gives each path one location of its own', () => {
      const locations = ['a', 'a/b', 'a-b', 'b'].map((path) => lake.location(path))
      expect(new Set(locations).size).toBe(4)
    })

    it('gives the same answer each time it is opened again', async () => {
      await lake.put('m/a', chunksOf(Buffer.from('a')), accept)
      await lake.put('m/b', chunksOf(Buffer.from('b')), accept)
      await lake.move('m/b', 'm/c')
      const before = await entriesOf(lake, '')
      for (let time = 0; time < 5; time++) {
        await using again = await subject.reopen()
        expect(await entriesOf(again, '')).toEqual(before)
        expect(await textOf(again, 'm/c')).toBe('b')
        await expect(again.put('m/a', chunksOf(pattern(1)), accept)).rejects.toBeInstanceOf(ConflictError)
      }
    })

    it('says unavailable, and never "not there", while its engine is away', async () => {
      await lake.put('known/a', chunksOf(pattern(9)), accept)
      const file = await lake.get('known/a')
      await subject.breakDown()
      const calls = [
        () => lake.stat('known/a'),
        () => lake.get('known/a'),
        () => lake.put('known/b', chunksOf(pattern(1)), accept),
        () => entriesOf(lake, 'known'),
        () => lake.move('known/a', 'known/c'),
        () => lake.remove('known/a'),
        () => file.read(0, 9),
      ]
      for (const call of calls) await expect(call()).rejects.toBeInstanceOf(UnavailableError)
    })
  })
}

function pattern(bytes: number): Buffer {
  const filled = Buffer.alloc(bytes)
  for (let index = 0; index < bytes; index++) filled[index] = (index * 31 + (index >> 8)) & 0xff
  return filled
}

export async function* chunksOf(bytes: Buffer, chunkBytes = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes)
}

export async function entriesOf(lake: Lake, prefix: string): Promise<readonly LakeEntry[]> {
  const entries: LakeEntry[] = []
  for await (const entry of lake.list(prefix)) entries.push(entry)
  return entries
}

export async function pathsOf(lake: Lake, prefix: string): Promise<readonly string[]> {
  return (await entriesOf(lake, prefix)).map((entry) => entry.path)
}

export async function textOf(lake: Lake, path: string): Promise<string> {
  const file = await lake.get(path)
  return Buffer.from(await file.read(0, file.bytes)).toString()
}

async function readersView(lake: Lake, path: string): Promise<string[]> {
  const visible = (await pathsOf(lake, '')).filter((one) => !one.split('/').some((segment) => segment.startsWith('_')))
  const found = await lake.get(path).catch((error: unknown) => error)
  const absent = (await lake.stat(path)) === null && visible.length === 0 && found instanceof CorruptError
  return absent ? ['absent'] : ['present', ...visible]
}

/** Opens once so many have arrived. */
function gate(size: number): () => Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let arrived = 0
  return () => {
    if (++arrived === size) resolve()
    return promise
  }
}

async function* gatedBody(bytes: Buffer, arrive: () => Promise<void>): AsyncGenerator<Uint8Array> {
  yield bytes.subarray(0, 1)
  await arrive()
  yield bytes.subarray(1)
}
