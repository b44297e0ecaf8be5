/** The lake's contract on a real HDFS, and what only a real one can show. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, CorruptError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import type { HdfsLakeFaultPoint } from '#engines/hdfs-lake.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import type { HdfsFolder } from './hdfs-folder.ts'
import { openHdfsFolder } from './hdfs-folder.ts'
import { HdfsProxy } from './hdfs-proxy.ts'
import { chunksOf, pathsOf, testLake, textOf } from './lake-contract.ts'

const nameNode = testEngine('hdfs')
const accept = async (): Promise<void> => {}
/** So that what is away is known to be away soon. */
const limits = { roundsMax: 3, backoffMs: 20 }

describe.skipIf(nameNode === null)(`on a real HDFS${whereMissing('hdfs')}`, () => {
  testLake('HDFS', async () => {
    const folder = openHdfsFolder(nameNode!)
    const proxy = await HdfsProxy.open(nameNode!)
    const open = () => openHdfsLake({ url: folder.url(proxy.address), location: '', limits })
    const lake = await open()
    return {
      lake,
      reopen: open,
      breakDown: () => proxy.close(),
      [Symbol.asyncDispose]: async () => {
        await lake[Symbol.asyncDispose]()
        await proxy[Symbol.asyncDispose]()
        await folder[Symbol.asyncDispose]()
      },
    }
  })

  describe('the HDFS lake from inside', () => {
    let folder: HdfsFolder
    let lake: Lake

    beforeEach(async () => {
      folder = openHdfsFolder(nameNode!)
      lake = await openHdfsLake({ url: folder.url(), location: '', limits })
    })
    afterEach(async () => {
      await lake[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    })

    test('keeps files and folders from other users', async () => {
      await lake.put('m/file', chunksOf(Buffer.from('private')), accept)
      const permissionOf = async (path: string): Promise<string> => {
        const { json } = await folder.call('GET', 'GETFILESTATUS', path)
        return (json as { FileStatus: { permission: string } }).FileStatus.permission
      }
      expect([await permissionOf('m/file'), await permissionOf('m'), await permissionOf('')]).toEqual(['640', '750', '750'])
      await using other = await openHdfsLake({ url: folder.url().replace('user=hdfs', 'user=mallory'), location: '', limits })
      const calls = [() => other.get('m/file'), () => other.stat('m/file'), () => other.remove('m/file'), () => other.move('m/file', 'm/mine'), () => pathsOf(other, 'm'), () => other.put('m/mine', chunksOf(Buffer.from('x')), accept)]
      for (const call of calls) await expect(call()).rejects.toBeInstanceOf(ConfigError)
      expect(await textOf(lake, 'm/file')).toBe('private')
    })

    /** Files of one block, of exactly two, and of several with a part; a chunk of the checksum begun in one piece and ended in the next. */
    test.each([1, 511, 512, 513, 1_048_576, 2_097_152, 3_500_001, 9_437_185])('HDFS’s checksum of %i bytes is the one computed here, and of other bytes is not', async (length) => {
      const bytes = Buffer.alloc(length)
      for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >> 9)) & 0xff
      let damaged = ''
      const damage = async (point: HdfsLakeFaultPoint): Promise<void> => {
        if (point !== 'written' || damaged === '') return
        const [temporary] = (await pathsOf(lake, 'm')).filter((path) => path.startsWith('m/_'))
        const other = Buffer.from(bytes)
        other[length - 1]! ^= 1
        await folder.plant(temporary!, other, { blocksize: '1048576' })
      }
      await using small = await openHdfsLake({ url: folder.url(), location: '', limits, blockBytes: 1_048_576, faults: damage })
      expect(await small.put('m/whole', chunksOf(bytes, 70_001), accept)).toMatchObject({ bytes: length })
      expect(Buffer.compare(await folder.read('m/whole'), bytes)).toBe(0)
      damaged = 'the next'
      const refused = small.put('m/damaged', chunksOf(bytes, 70_001), accept)
      await expect(refused).rejects.toBeInstanceOf(CorruptError)
      await expect(refused).rejects.toThrow('other bytes on HDFS than were sent')
      expect(await pathsOf(lake, '')).toEqual(['m/whole'])
    })

    test('lists a folder of more than one page whole, and only names that it could have written', async () => {
      const names = Array.from({ length: 1_010 }, (_, n) => `n-${String(n).padStart(4, '0')}`)
      for (let at = 0; at < names.length; at += 20) await Promise.all(names.slice(at, at + 20).map((name) => folder.call('PUT', 'MKDIRS', `big/${name}`)))
      for (const name of ['a', 'n-1009/f', 'z', 'city=S%C3%A3o%20Paulo', 'with%20space']) await folder.plant(`big/${name}`, Buffer.from(name))
      expect(await pathsOf(lake, 'big')).toEqual(['big/a', 'big/n-1009/f', 'big/z'])
    })

    test('notices that a file was cut or removed after it was opened', async () => {
      await lake.put('m/file', chunksOf(Buffer.alloc(1000)), accept)
      const file = await lake.get('m/file')
      await folder.plant('m/file', Buffer.alloc(10))
      await expect(file.read(0, 1000)).rejects.toBeInstanceOf(CorruptError)
      await folder.call('DELETE', 'DELETE', 'm/file')
      await expect(file.read(0, 1)).rejects.toBeInstanceOf(CorruptError)
    })

    test('reads nothing as a file that is none', async () => {
      await lake.put('m/file', chunksOf(Buffer.alloc(10)), accept)
      for (const call of [() => lake.stat('m'), () => lake.get('m'), () => lake.remove('m'), () => lake.move('m', 'n')]) await expect(call()).rejects.toBeInstanceOf(CorruptError)
      await expect(lake.put('m/file/below', chunksOf(Buffer.alloc(1)), accept)).rejects.toThrow('m/file/below')
      expect(await pathsOf(lake, '')).toEqual(['m/file'])
    })

    test('names its files as the query engine does', async () => {
      expect(lake.location('m/file')).toBe(`hdfs://${folder.path}/m/file`)
      await using other = await openHdfsLake({ url: folder.url(), location: 'hdfs://namenode:8020/shopsphere/' })
      expect(other.location('m/file')).toBe('hdfs://namenode:8020/shopsphere/m/file')
    })
  })
})
