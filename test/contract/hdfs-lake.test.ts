/** The lake's contract on a real HDFS, and what only a real one can show. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CorruptError } from '#core/errors.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import { HdfsProxy } from './hdfs-proxy.ts'
import type { HdfsFolder } from './hdfs-folder.ts'
import { openHdfsFolder } from './hdfs-folder.ts'
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
})
