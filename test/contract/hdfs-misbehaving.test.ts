/**
 * The lake on an HDFS that misbehaves in the ways that are known of WebHDFS and of what stands before it. In each case an error, or success after another
 * try; never a wrong success, and nothing under the final name unless it is whole.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, ConflictError, CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import { ChecksumOfFile } from '#engines/hdfs-checksum.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { chunksOf, pathsOf, textOf } from './lake-contract.ts'
import type { HdfsFault, HdfsRequest } from './misbehaving-hdfs.ts'
import { MisbehavingHdfs, answer, bodyOf, exception } from './misbehaving-hdfs.ts'

const accept = async (): Promise<void> => {}
const html = '<html><body>502 Bad Gateway</body></html>'
const text = 'the whole file'
const limits = { connectTimeoutMs: 400, answerTimeoutMs: 400, idleTimeoutMs: 400, continueWaitMs: 100, roundsMax: 2, backoffMs: 2, backoffMaxMs: 10 }

let hdfs: MisbehavingHdfs
let lake: Lake

beforeEach(async () => {
  hdfs = await MisbehavingHdfs.open()
  lake = await openHdfsLake({ url: hdfs.url(), location: '', limits })
})
afterEach(async () => {
  await lake[Symbol.asyncDispose]()
  await hdfs[Symbol.asyncDispose]()
})

function put(path = 'm/file', bytes: Uint8Array = Buffer.from(text)): ReturnType<Lake['put']> {
  return lake.put(path, chunksOf(Buffer.from(bytes)), accept)
}

async function failureOf(call: Promise<unknown>): Promise<Error> {
  const thrown: unknown = await call.then(
    (value) => new Error(`it succeeded: ${JSON.stringify(value)}`),
    (error: unknown) => error,
  )
  return thrown as Error
}

/** The put failed so, and nothing stands under the final name or any other. */
async function expectRefused(call: Promise<unknown>, kind: new (...args: never[]) => Error, message: RegExp): Promise<void> {
  const failure = await failureOf(call)
  expect(failure).toBeInstanceOf(kind)
  expect(failure.message).toMatch(message)
  expect([...hdfs.files.keys()]).toEqual([])
}

/** Only requests of one operation to the NameNode (0) or to any DataNode (1). */
function on(server: 0 | 1, op: string, act: HdfsFault): HdfsFault {
  return (asked) => asked.op === op && Math.min(asked.server, 1) === server && act(asked)
}

const hang: HdfsFault = () => true

function reply(status: number, body: unknown): HdfsFault {
  return ({ response }) => answer(response, status, body)
}

const cut: HdfsFault = ({ request }) => {
  request.socket.destroy()
  return true
}

/** Sends the end of the stream and keeps listening, as a server that is half gone. */
const halfClose: HdfsFault = ({ request }) => {
  request.socket.end()
  return true
}

test('a whole file, its folder and its reading pass through the server as it is meant to be', async () => {
  expect(await put()).toEqual({ path: 'm/file', bytes: text.length, modifiedMs: 1_700_000_000_000 })
  expect(await textOf(lake, 'm/file')).toBe(text)
  expect([...hdfs.files.values()].map((file) => file.permission)).toEqual(['640'])
  expect(hdfs.folders.get('/lake/m')).toBe('750')
  expect(await pathsOf(lake, '')).toEqual(['m/file'])
  await lake.move('m/file', 'n/file')
  await lake.remove('n/file')
  expect([...hdfs.files.keys()]).toEqual([])
})

test('a path that would be another request is refused before anything is sent', async () => {
  for (const path of ['../other', 'a/../b', 'a%2e%2e/b', 'a?op=DELETE&recursive=true', 'a#b', 'a\nb', 'a;b', '//a']) {
    for (const call of [() => put(path), () => lake.remove(path), () => lake.get(path), () => lake.move('m/file', path), () => pathsOf(lake, path)]) {
      expect(await failureOf(call())).toBeInstanceOf(InvalidRequestError)
    }
  }
  expect(hdfs.seen).toEqual([])
})

describe('an upload', () => {
  test.each([503, 429, 413, 500])('that a DataNode answers with %i after the whole body is no success', async (status) => {
    hdfs.fault = on(1, 'CREATE', async ({ request, response }) => {
      response.writeContinue()
      await bodyOf(request)
      return answer(response, status, 'busy')
    })
    await expectRefused(put(), UnavailableError, new RegExp(`answers ${status}`))
  })

  test.each([503, 429])('that a DataNode answers with %i before the body goes to another', async (status) => {
    hdfs.fault = ({ server, op, response }) => server === 1 && op === 'CREATE' && answer(response, status, 'busy')
    await put()
    expect(await textOf(lake, 'm/file')).toBe(text)
  })

  test('to a DataNode that refuses connections goes to another', async () => {
    // The NameNode has not noticed yet.
    await hdfs.stop(1)
    await put()
    expect(await textOf(lake, 'm/file')).toBe(text)
  })

  test('that a DataNode takes and never confirms ends at the time-out', async () => {
    hdfs.fault = on(1, 'CREATE', async ({ request, response }) => {
      response.writeContinue()
      await bodyOf(request)
      return true
    })
    await expectRefused(put(), UnavailableError, /did not confirm the file within 400 ms/)
  })

  test('that a DataNode stops taking ends at the time-out, and the body is not read far ahead', async () => {
    hdfs.fault = on(1, 'CREATE', ({ request, response }) => {
      response.writeContinue()
      request.pause()
      return true
    })
    let taken = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        taken += 65_536
        yield Buffer.alloc(65_536)
      }
    }
    await expectRefused(lake.put('m/file', endless(), accept), UnavailableError, /did not take more of the file within 400 ms/)
    expect(taken).toBeLessThan(32 * 1024 * 1024)
  })

  test('that is cut in mid-body is no success', async () => {
    hdfs.fault = on(1, 'CREATE', async ({ request, response }) => {
      response.writeContinue()
      await once(request, 'data')
      request.socket.destroy()
      return true
    })
    await expectRefused(put('m/file', Buffer.alloc(5_000_000)), UnavailableError, /cut|ended without an answer/)
  })

  test('whose connection the DataNode half closes is no success', async () => {
    hdfs.fault = on(1, 'CREATE', ({ request, response, ...rest }) => {
      response.writeContinue()
      return halfClose({ request, response, ...rest })
    })
    await expectRefused(put('m/file', Buffer.alloc(5_000_000)), UnavailableError, /cannot be reached/)
  })

  test('that a DataNode confirms and does not keep is no success', async () => {
    hdfs.fault = on(1, 'CREATE', async ({ request, response }) => {
      response.writeContinue()
      await bodyOf(request)
      return answer(response, 201, '')
    })
    await expectRefused(put(), UnavailableError, /is not there on HDFS, though a DataNode confirmed it/)
  })

  test('that a DataNode confirms and keeps in part is no success', async () => {
    hdfs.fault = on(1, 'CREATE', async ({ path, response, perform }) => {
      await perform()
      hdfs.files.get(path)!.bytes = Buffer.from('the whole')
      return answer(response, 201, '')
    })
    await expectRefused(put(), UnavailableError, /has 9 bytes of the 14 that were sent/)
  })

  test('that a DataNode confirms and did not close is no success', async () => {
    hdfs.fault = async (asked) => {
      if (asked.op === 'CREATE' && asked.server > 0) {
        await asked.perform()
        return answer(asked.response, 201, '')
      }
      return asked.op === 'GET_BLOCK_LOCATIONS' && answer(asked.response, 200, { LocatedBlocks: { isUnderConstruction: true, locatedBlocks: [] } })
    }
    await expectRefused(put(), UnavailableError, /was not closed/)
  })

  test('whose bytes arrived changed is refused by HDFS’s checksum', async () => {
    const other = new ChecksumOfFile(128 * 1024 * 1024)
    other.update(Buffer.from('the whole fils'))
    const { algorithm, md5 } = other.finish()
    hdfs.fault = on(1, 'GETFILECHECKSUM', reply(200, { FileChecksum: { algorithm, bytes: `000002000000000000000000${md5}`, length: 28 } }))
    await expectRefused(put(), CorruptError, /has other bytes on HDFS than were sent/)
  })

  test('whose caller gives up leaves nothing, though the DataNode makes the file only later', async () => {
    const failure = new Error('the log went away')
    hdfs.fault = on(1, 'CREATE', async ({ path, request, response }) => {
      response.writeContinue()
      await new Promise((resolve) => request.on('close', resolve))
      // As a DataNode does that is slower than the news of the cut.
      hdfs.files.set(path, { bytes: Buffer.from('the'), id: 7, isOpen: true, permission: '640' })
      return true
    })
    async function* body(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('the')
      throw failure
    }
    expect(await failureOf(lake.put('m/file', body(), accept))).toBe(failure)
    expect([...hdfs.files.keys()]).toEqual([])
  })

  test('of a folder over its quota, or without a DataNode with room, says so and may be tried again', async () => {
    hdfs.fault = on(1, 'CREATE', async ({ request, response }) => {
      response.writeContinue()
      await bodyOf(request)
      const { status, body } = exception(403, 'DSQuotaExceededException', 'The DiskSpace quota of /lake is exceeded: quota = 1048576 B = 1 MB but diskspace consumed = 134217728 B = 128 MB\n\tat org…')
      return answer(response, status, body)
    })
    await expectRefused(put(), UnavailableError, /quota is used up.*dfsadmin -setSpaceQuota.*quota = 1048576 B/)
    hdfs.fault = on(1, 'CREATE', async ({ request, response }) => {
      response.writeContinue()
      await bodyOf(request)
      const { status, body } = exception(403, 'IOException', 'File /lake/m/_x could only be written to 0 of the 1 minReplication nodes. There are 1 datanode(s) running and 1 node(s) are excluded in this operation.')
      return answer(response, status, body)
    })
    await expectRefused(put(), UnavailableError, /no DataNode could take the block/)
  })
})

describe('a redirect', () => {
  test.each([
    ['a foreign host', (other: string, path: string) => `http://${other}/webhdfs/v1${path}?op=CREATE`],
    ['a URL with a password', (_other: string, path: string) => `http://u:p@${hdfs.address(1)}/webhdfs/v1${path}?op=CREATE`],
    ['another operation', (_other: string, path: string) => `http://${hdfs.address(1)}/webhdfs/v1${path}?op=DELETE`],
    ['another protocol', (_other: string, path: string) => `ftp://${hdfs.address(1)}/webhdfs/v1${path}?op=CREATE`],
    ['another file', () => `http://${hdfs.address(1)}/webhdfs/v1/lake/other?op=CREATE`],
    ['another page of a host that it reports', () => `http://${hdfs.address(1)}/latest/meta-data?op=CREATE`],
    ['no URL', () => 'nowhere'],
  ])('of an upload to %s is refused and nothing is sent', async (_what, target) => {
    let connections = 0
    await using foreign = await listening(() => connections++)
    hdfs.fault = on(0, 'CREATE', ({ path, response }) => answer(response, 200, { Location: target(foreign.address, path) }))
    await expectRefused(put(), ConfigError, /none of the DataNodes that it reports|no DataNode's address/)
    expect(connections).toBe(0)
  })

  test('of a reading to a foreign host is refused and nothing is sent', async () => {
    await put()
    let connections = 0
    await using foreign = await listening(() => connections++)
    hdfs.fault = on(0, 'OPEN', ({ response }) => answer(response, 307, '', { location: `http://${foreign.address}/webhdfs/v1/lake/m/file?op=OPEN` }))
    const file = await lake.get('m/file')
    expect(await failureOf(file.read(0, 3))).toBeInstanceOf(ConfigError)
    expect(connections).toBe(0)
  })

  test('to a DataNode that only the lake’s URL names is followed', async () => {
    hdfs.reported = [1]
    hdfs.fault = on(0, 'CREATE', ({ path, response }) => answer(response, 200, { Location: `http://${hdfs.address(2)}/webhdfs/v1${path}?op=CREATE` }))
    await expectRefused(put(), ConfigError, /datanodes=127\.0\.0\.1:/)
    await using named = await openHdfsLake({ url: `${hdfs.url()}&datanodes=${hdfs.address(2)}`, location: '', limits })
    await named.put('m/file', chunksOf(Buffer.from(text)), accept)
    expect([...hdfs.files.keys()]).toEqual(['/lake/m/file'])
  })

  test('in a loop ends with an error', async () => {
    const loop: HdfsFault = ({ request, response }) => answer(response, 307, '', { location: `http://${request.headers.host}${request.url}` })
    hdfs.fault = on(1, 'CREATE', loop)
    await expectRefused(put(), UnavailableError, /answers 307/)
    hdfs.fault = on(0, 'GETFILESTATUS', loop)
    expect(await failureOf(lake.stat('m/file'))).toBeInstanceOf(UnavailableError)
    hdfs.fault = on(0, 'MKDIRS', loop)
    await expectRefused(put(), UnavailableError, /answers 307/)
  })

  test('by a server that ignores "noredirect" is followed', async () => {
    hdfs.fault = async ({ server, op, response, perform }) => {
      if (server !== 0 || !['CREATE', 'OPEN', 'GETFILECHECKSUM'].includes(op)) return false
      const { body } = await perform()
      return answer(response, 307, '', { location: (body as { Location: string }).Location })
    }
    await put()
    expect(await textOf(lake, 'm/file')).toBe(text)
  })
})

describe('a rename', () => {
  test('that answers {"boolean": false} and does nothing is no success', async () => {
    hdfs.fault = on(0, 'RENAME', reply(200, { boolean: false }))
    await expectRefused(put(), UnavailableError, /answered and did not do it/)
    expect(hdfs.seenOf('RENAME')).toBe(limits.roundsMax)
  })

  test('that answers {"boolean": false} and was done is done', async () => {
    hdfs.fault = on(0, 'RENAME', async ({ response, perform }) => {
      await perform()
      return answer(response, 200, { boolean: false })
    })
    await put()
    expect(await pathsOf(lake, '')).toEqual(['m/file'])
  })

  test.each<readonly [string, HdfsFault]>([
    ['times out', hang],
    ['is cut', cut],
    ['is half closed', halfClose],
    ['is an error page', reply(502, html)],
    ['says that the source is not found', reply(404, exception(404, 'FileNotFoundException', 'rename source is not found').body)],
  ])('whose answer %s after it succeeded is done, once', async (_what, lose) => {
    hdfs.fault = on(0, 'RENAME', async (asked) => {
      await asked.perform()
      return lose(asked)
    })
    await put()
    expect(await textOf(lake, 'm/file')).toBe(text)
    expect(await pathsOf(lake, '')).toEqual(['m/file'])
    expect(hdfs.seenOf('RENAME')).toBe(1)
  })

  test.each<readonly [string, HdfsFault]>([
    ['times out', hang],
    ['is cut', cut],
    ['is an error page of status 200', reply(200, html)],
  ])('that %s before it was done is tried again', async (_what, fail) => {
    hdfs.fault = on(0, 'RENAME', (asked) => asked.count === 1 && fail(asked))
    await put()
    expect(await pathsOf(lake, '')).toEqual(['m/file'])
  })

  test('to a name that somebody took meanwhile is a conflict, and the other’s file stays', async () => {
    const other = { bytes: Buffer.from('the other'), id: 1, isOpen: false, permission: '640' }
    hdfs.fault = on(0, 'RENAME', () => {
      hdfs.files.set('/lake/m/file', other)
      return false
    })
    expect(await failureOf(put())).toBeInstanceOf(ConflictError)
    expect([...hdfs.files]).toEqual([['/lake/m/file', other]])
  })

  test('to a name that became a folder is a conflict, and nothing is put into the folder', async () => {
    hdfs.fault = on(0, 'RENAME', () => {
      hdfs.folders.set('/lake/m/file', '750')
      return false
    })
    await expectRefused(put(), ConflictError, /exists in the lake already/)
  })
})

describe('a folder and a removal', () => {
  test('a folder that HDFS says it did not make, and that is not there, is an error', async () => {
    hdfs.fault = on(0, 'MKDIRS', reply(200, { boolean: false }))
    await expectRefused(put(), UnavailableError, /did not, and it is not there/)
  })

  test('a folder that HDFS says it did not make, and that is there, is enough', async () => {
    hdfs.fault = on(0, 'MKDIRS', async ({ response, perform }) => {
      await perform()
      return answer(response, 200, { boolean: false })
    })
    await put()
  })

  test('a removal that HDFS says it did not do is an error while the file is there', async () => {
    await put()
    hdfs.fault = on(0, 'DELETE', reply(200, { boolean: false }))
    expect((await failureOf(lake.remove('m/file'))).message).toMatch(/still there/)
    hdfs.fault = on(0, 'DELETE', async ({ response, perform }) => {
      await perform()
      return answer(response, 200, { boolean: false })
    })
    await lake.remove('m/file')
    expect(hdfs.files.size).toBe(0)
  })

  test('an answer that would throw in the package’s own parser is an error like others', async () => {
    await put('m/other')
    for (const body of [{ RemoteException: null }, { RemoteException: 7 }, null, [], 'null']) {
      hdfs.fault = (asked) => (asked.op === 'MKDIRS' || asked.op === 'DELETE') && answer(asked.response, 403, body)
      expect(await failureOf(put())).toBeInstanceOf(UnavailableError)
      expect(await failureOf(lake.remove('m/other'))).toBeInstanceOf(UnavailableError)
    }
  })
})

describe('a NameNode', () => {
  const calls: readonly (readonly [string, (lake: Lake) => Promise<unknown>])[] = [
    ['stat', (one) => one.stat('m/file')],
    ['get', (one) => one.get('m/file')],
    ['list', (one) => pathsOf(one, 'm')],
    ['move', (one) => one.move('m/file', 'm/moved')],
    ['remove', (one) => one.remove('m/file')],
    ['put', (one) => one.put('m/new', chunksOf(Buffer.from(text)), accept)],
  ]
  const troubles: readonly (readonly [string, HdfsFault])[] = [
    ['answers 503', reply(503, 'busy')],
    ['answers 429', reply(429, 'busy')],
    ['answers 200 with an error page', reply(200, html)],
    ['answers 404 with an error page', reply(404, html)],
    ['answers 200 with nothing', reply(200, '')],
    ['answers 200 with other JSON', reply(200, { hello: 'world' })],
    ['hangs', hang],
    ['cuts the connection', cut],
    ['half closes the connection', halfClose],
    ['cuts its answer', ({ response, request }) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('{"FileStatus":', () => request.socket.destroy())
      return true
    }],
    ['sends a byte at a time for ever', ({ response }) => {
      const drip = setInterval(() => response.write(' '), 10)
      response.on('close', () => clearInterval(drip))
      return true
    }],
    ['answers without an end', ({ response }) => {
      const line = Buffer.alloc(1024 * 1024, ' ')
      const pour = (): void => void (response.write(line) ? setImmediate(pour) : response.once('drain', pour))
      response.on('close', () => response.removeAllListeners('drain'))
      pour()
      return true
    }],
  ]

  test.each(troubles)('that %s for good makes every call unavailable, and never "not there"', async (_what, trouble) => {
    await put()
    const before = [...hdfs.files.keys()]
    hdfs.fault = (asked) => asked.server === 0 && trouble(asked)
    for (const [name, call] of calls) expect(await failureOf(call(lake)), name).toBeInstanceOf(UnavailableError)
    hdfs.fault = () => false
    expect([...hdfs.files.keys()]).toEqual(before)
    expect(await textOf(lake, 'm/file')).toBe(text)
  })

  test.each(troubles)('that %s once is asked again', async (_what, trouble) => {
    hdfs.fault = (asked) => asked.server === 0 && asked.count === 1 && trouble(asked)
    await put()
    expect(await pathsOf(lake, '')).toEqual(['m/file'])
    expect(await textOf(lake, 'm/file')).toBe(text)
    await lake.remove('m/file')
    expect(await lake.stat('m/file')).toBeNull()
  })

  test('in safe mode refuses before any of the body is taken, with advice; out of it the file is written', async () => {
    let taken = 0
    async function* body(): AsyncGenerator<Uint8Array> {
      taken++
      yield Buffer.from(text)
    }
    hdfs.fault = (asked) => isWrite(asked) && answerException(asked, 'SafeModeException', 'Cannot create directory /lake/m. Name node is in safe mode.\nIt was turned on manually.')
    await expectRefused(lake.put('m/file', body(), accept), UnavailableError, /safe mode.*dfsadmin -safemode leave/)
    expect(taken).toBe(0)
    hdfs.fault = (asked) => isWrite(asked) && asked.count === 1 && answerException(asked, 'SafeModeException', 'Name node is in safe mode.')
    await lake.put('m/file', body(), accept)
    expect(await textOf(lake, 'm/file')).toBe(text)
  })

  test('that does not tell its DataNodes makes a redirect unavailable, with what to do', async () => {
    hdfs.fault = (asked) => asked.op === 'JMX' && reply(404, html)(asked)
    await expectRefused(put(), UnavailableError, /does not tell its DataNodes.*\?datanodes=127/)
  })

  test('that does not let this user in is a matter of configuration', async () => {
    hdfs.fault = (asked) => asked.server === 0 && answerException(asked, 'AccessControlException', 'Permission denied: user=tidemark, access=WRITE, inode="/":hdfs:supergroup:drwxr-xr-x')
    for (const [name, call] of calls) {
      const failure = await failureOf(call(lake))
      expect(failure, name).toBeInstanceOf(ConfigError)
      expect(failure.message).toMatch(/user=tidemark.*hdfs dfs -chown/)
    }
  })

  test('is not asked by way of a proxy that the environment names', async () => {
    process.env['HTTP_PROXY'] = process.env['http_proxy'] = 'http://127.0.0.1:1'
    try {
      await put()
      await lake.remove('m/file')
    } finally {
      delete process.env['HTTP_PROXY']
      delete process.env['http_proxy']
    }
  })
})

describe('several NameNodes', () => {
  test('one that stands by hands over to the active one, which is remembered', async () => {
    await using standby = await MisbehavingHdfs.open()
    standby.fault = (asked) => answerException(asked, 'StandbyException', 'Operation category READ is not supported in state standby. Visit https://s.apache.org/sbnn-error')
    await using both = await openHdfsLake({ url: hdfs.url([standby.address(0), hdfs.address(0)]), location: '', limits })
    await both.put('m/file', chunksOf(Buffer.from(text)), accept)
    expect(await textOf(both, 'm/file')).toBe(text)
    expect(standby.seen).toHaveLength(1)
    // They change places.
    const { fault } = standby
    hdfs.fault = fault
    standby.fault = () => false
    expect(await both.stat('m/file')).toBeNull()
    expect(await both.stat('m/file')).toBeNull()
    expect(hdfs.seen.filter((line) => line.startsWith('0 GETFILESTATUS'))).toHaveLength(6)
  })

  test.each<readonly [string, (standby: MisbehavingHdfs) => Promise<void>]>([
    ['refuses connections', (standby) => standby.stop(0)],
    [
      'hangs',
      async (standby) => {
        standby.fault = hang
      },
    ],
  ])('one that %s hands over to the next', async (_what, takeAway) => {
    await using gone = await MisbehavingHdfs.open()
    const address = gone.address(0)
    await takeAway(gone)
    await using both = await openHdfsLake({ url: hdfs.url([address, hdfs.address(0)]), location: '', limits })
    await both.put('m/file', chunksOf(Buffer.from(text)), accept)
    expect(await textOf(both, 'm/file')).toBe(text)
  })

  test('none active is unavailable, and never "not there"', async () => {
    const standby: HdfsFault = (asked) => answerException(asked, 'StandbyException', 'Operation category READ is not supported in state standby')
    await using other = await MisbehavingHdfs.open()
    other.fault = hdfs.fault = standby
    await using both = await openHdfsLake({ url: hdfs.url([other.address(0), hdfs.address(0)]), location: '', limits })
    const failure = await failureOf(both.stat('m/file'))
    expect(failure).toBeInstanceOf(UnavailableError)
    expect(failure.message).toMatch(/none of the NameNodes named is active/)
  })
})

describe('a listing', () => {
  beforeEach(async () => {
    for (let n = 0; n < 8; n++) await put(`m/file-${n}`)
  })
  const all = Array.from({ length: 8 }, (_, n) => `m/file-${n}`)

  test('of several pages is whole', async () => {
    expect(await pathsOf(lake, '')).toEqual(all)
    expect(hdfs.seenOf('LISTSTATUS_BATCH')).toBe(1 + 3)
  })

  test.each<readonly [string, HdfsFault]>([
    ['fails', reply(503, 'busy')],
    ['is an error page', reply(200, html)],
    ['is cut', cut],
    ['hangs', hang],
    ['comes without entries though more are said to remain', reply(200, { DirectoryListing: { partialListing: { FileStatuses: { FileStatus: [] } }, remainingEntries: 5 } })],
  ])('one of whose pages %s is an error, never a shorter list', async (_what, fail) => {
    hdfs.fault = on(0, 'LISTSTATUS_BATCH', (asked) => asked.query.get('startafter') === 'file-2' && fail(asked))
    expect(await failureOf(pathsOf(lake, 'm'))).toBeInstanceOf(UnavailableError)
  })

  test('one of whose pages fails once is whole', async () => {
    hdfs.fault = on(0, 'LISTSTATUS_BATCH', (asked) => asked.count === 2 && reply(503, 'busy')(asked))
    expect(await pathsOf(lake, 'm')).toEqual(all)
  })
})

describe('a reading', () => {
  beforeEach(async () => {
    await put()
  })

  test('cut by the DataNode is tried at another', async () => {
    hdfs.fault = ({ server, op, request, response }) => {
      if (server !== 1 || op !== 'OPEN') return false
      response.writeHead(200, { 'content-length': '9' })
      response.write('the', () => request.socket.destroy())
      return true
    }
    const file = await lake.get('m/file')
    expect(Buffer.from(await file.read(0, 9)).toString()).toBe('the whole')
  })

  test.each<readonly [string, HdfsFault]>([
    ['is cut', ({ request, response }) => {
      response.writeHead(200, { 'content-length': '9' })
      response.write('the', () => request.socket.destroy())
      return true
    }],
    ['is shorter than asked for', reply(200, 'the')],
    ['is longer than asked for', reply(200, 'the whole file and more')],
    ['has no length and ends early', ({ request, response }) => {
      response.writeHead(200, { connection: 'close', 'transfer-encoding': 'identity' })
      response.write('the', () => request.socket.end())
      return true
    }],
    ['stops', ({ response }) => {
      response.writeHead(200, { 'content-length': '9' })
      response.write('the')
      return true
    }],
    ['is an error', reply(500, html)],
    ['hangs', hang],
  ])('whose body %s everywhere is an error, never less data', async (_what, fail) => {
    const file = await lake.get('m/file')
    hdfs.fault = on(1, 'OPEN', fail)
    expect(await failureOf(file.read(0, 9))).toBeInstanceOf(UnavailableError)
  })

  test('of a file that was cut or removed meanwhile is corrupt', async () => {
    const file = await lake.get('m/file')
    hdfs.files.get('/lake/m/file')!.bytes = Buffer.from('the')
    const failure = await failureOf(file.read(0, 9))
    expect(failure).toBeInstanceOf(CorruptError)
    expect(failure.message).toMatch(/has 3 bytes and should have 14/)
    hdfs.files.delete('/lake/m/file')
    expect(await failureOf(file.read(0, 9))).toBeInstanceOf(CorruptError)
  })

  test('of a file all of whose copies are damaged is corrupt', async () => {
    const file = await lake.get('m/file')
    hdfs.fault = (asked) => {
      if (asked.op === 'OPEN' && asked.server > 0) return cut(asked)
      return asked.op === 'GET_BLOCK_LOCATIONS' && answer(asked.response, 200, { LocatedBlocks: { isUnderConstruction: false, locatedBlocks: [{ isCorrupt: true }] } })
    }
    const failure = await failureOf(file.read(0, 9))
    expect(failure).toBeInstanceOf(CorruptError)
    expect(failure.message).toMatch(/Every copy of a block of m\/file/)
  })
})

function isWrite({ server, op }: HdfsRequest): boolean {
  return server === 0 && ['MKDIRS', 'CREATE', 'RENAME', 'DELETE'].includes(op)
}

function answerException({ response }: HdfsRequest, name: string, message: string): true {
  const { status, body } = exception(403, name, message)
  return answer(response, status, body)
}

async function listening(onConnection: () => void): Promise<AsyncDisposable & { readonly address: string }> {
  const server = createServer((socket) => {
    onConnection()
    socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}
