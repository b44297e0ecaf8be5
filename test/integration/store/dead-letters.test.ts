/** Dead letters: listed by page, shown whole, and sent again as new records that count once. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { countLetters, letterName, listLetters, parseLetter, readLetter } from '#store/dead-letters.ts'
import { resubmitLetter, resubmitsHeader } from '#store/resubmit.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { importFolder, importedSale, runLabImport } from '#test/lab/imports.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker, readLog } from '#test/lab/step-worker.ts'

const nowMs = Date.parse('2025-03-02T10:00:00Z')
let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 1 })
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

async function countAll(): Promise<void> {
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
}

async function send(...records: readonly MeantAppend[]): Promise<void> {
  await lab.append(records)
  await countAll()
}

function refused(value: string | Uint8Array): MeantAppend {
  return { ...sale({ id: 'refused', refused: true }), value: Buffer.from(value) }
}

/** A line whose total is wrong, and as it should have been. */
function mistaken(id: string): { readonly wrong: MeantAppend; readonly right: MeantAppend } {
  const right = sale({ id })
  return { wrong: refused(Buffer.from(right.value).toString().replace('10.00,10.00', '10.00,99.00')), right }
}

function resubmit(id: number | string, extra: { readonly value?: Uint8Array; readonly afterAppend?: () => Promise<void> } = {}) {
  return resubmitLetter({ database: lab.database, log: lab.log, decoder: lab.decoder, nowMs, ...extra }, typeof id === 'string' ? parseLetter(id) : id)
}

test('pages go from the newest to the oldest, each letter once, and counts are by topic and reason', async () => {
  await send(...Array.from({ length: 5 }, (_, n) => refused(`no event ${n}`)), refused('{"eventId":"x"}'), sale({ id: '1' }))
  const texts: string[] = []
  let after: number | undefined
  for (;;) {
    const page = await listLetters(lab.database.pool, { limit: 2, ...(after !== undefined && { after }) })
    texts.push(...page.map(({ text }) => text))
    if (page.length < 2) break
    after = page.at(-1)!.id
  }
  expect(texts).toEqual(['{"eventId":"x"}', ...[4, 3, 2, 1, 0].map((n) => `no event ${n}`)])
  expect(await countLetters(lab.database.pool)).toEqual([
    { topic: lab.topic, reason: 'unreadable', letters: 5 },
    { topic: lab.topic, reason: 'missing-field', letters: 1 },
  ])
  expect(await listLetters(lab.database.pool, { limit: 9, reason: 'missing-field' })).toHaveLength(1)
  expect(await listLetters(lab.database.pool, { limit: 9, topic: 'users' })).toEqual([])
  expect(await countLetters(lab.database.pool, 'users')).toEqual([])
})

test('a letter is shown by number and by position, with both places of a conflict and with bytes that hide nothing', async () => {
  const order = (id: string, price: string): string =>
    JSON.stringify({ orderId: 'o', userId: '7', city: 'London', occurredAt: '2025-03-01T10:00:00Z', lines: ['a', 'b'].map((line) => ({ eventId: `${id}${line}`, productId: 'P', productName: 'P', category: 'Home', quantity: 1, unitPrice: price, total: price })) })
  await lab.log.append(lab.topic, [order('1', '1.00'), order('1', '2.00')].map((text) => ({ key: 'o', value: Buffer.from(text) })))
  await lab.log.append(lab.topic, [{ key: 'o', value: Buffer.from([0x41, 0xff, 0x1b, 0x5b]) }])
  await countAll()
  const [last, second, first] = await listLetters(lab.database.pool, { limit: 9 })
  expect(last).toMatchObject({ reason: 'unreadable', offset: 2, text: 'A\\xff\\u001b[', bytes: 4 })
  for (const [letter, index] of [[first, 0], [second, 1]] as const) {
    expect(letter).toMatchObject({ reason: 'conflict', offset: 1, index, first: { partition: 0, offset: 0 }, bytes: order('1', '2.00').length })
    const byPosition = await readLetter(lab.database.pool, parseLetter(letterName(letter!)))
    expect(byPosition.value.toString()).toBe(order('1', '2.00'))
    expect(await readLetter(lab.database.pool, letter!.id)).toEqual(byPosition)
  }
  await expect(resubmit(first!.id)).rejects.toThrow('sent as it is, it conflicts again')
  await expect(readLetter(lab.database.pool, 999_999)).rejects.toThrow('There is no dead letter 999999')
  expect(() => parseLetter('a/b')).toThrow('names no dead letter')
})

test('a mended letter is a new record that names the old one, and counts', async () => {
  const { wrong, right } = mistaken('1')
  await send(wrong)
  await expect(resubmit(`${lab.topic}/0/0/0`)).rejects.toThrow('would be refused again: total-mismatch')
  await expect(resubmit(`${lab.topic}/0/0/0`, { value: Buffer.from('1,2') })).rejects.toThrow('would be refused as it is now')
  expect((await lab.log.bounds(lab.topic)).end.get(0)).toBe(1)
  expect(await resubmit(`${lab.topic}/0/0/0`, { value: right.value })).toMatchObject({ isNew: true })
  lab.oracle.add(0, right.meant)
  await countAll()
  expect((await checkExact(lab)).accounts.get(0)).toMatchObject({ accepted: 1, refused: 1 })
  const [batch] = await readLog(lab, 0, 1, 2)
  expect(batch!.records[0]!.headers).toEqual({ [resubmitsHeader]: `${lab.topic}/0/0/0` })
  const [letter] = await listLetters(lab.database.pool, { limit: 1 })
  expect(letter!.resubmitted).toMatchObject({ times: 1, appendedAt: expect.any(String) })
  expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
})

test('the same content is sent once; where a crash leaves it unknown, a second copy in the log counts once', async () => {
  const { wrong, right } = mistaken('1')
  await send(wrong)
  const name = `${lab.topic}/0/0/0`
  await expect(resubmit(name, { value: right.value, afterAppend: () => Promise.reject(new Error('crash')) })).rejects.toThrow('crash')
  expect((await listLetters(lab.database.pool, { limit: 1 }))[0]!.resubmitted).toEqual({ times: 1, appendedAt: null })
  expect(await resubmit(name, { value: right.value })).toMatchObject({ isNew: true })
  expect(await resubmit(name, { value: right.value })).toMatchObject({ isNew: false, appendedAt: expect.any(String) })
  expect((await lab.log.bounds(lab.topic)).end.get(0)).toBe(3)
  for (let copy = 0; copy < 2; copy++) lab.oracle.add(0, right.meant)
  await countAll()
  expect((await checkExact(lab)).accounts.get(0)).toMatchObject({ accepted: 1, copies: 1, refused: 1 })
})

test('a letter of an import goes into the log with the name space of the import', async () => {
  await using folder = await importFolder()
  const good = importedSale('old-shop', { id: '1' })
  await runLabImport(lab, { files: [await folder.write('import.csv', [good, { text: mistaken('2').wrong.value.toString(), meant: null }])] })
  // The log has the same ids of its own.
  await send(sale({ id: '1' }), sale({ id: '2' }))
  const { right } = mistaken('2')
  await resubmit(`${lab.topic}/65535/1/0`, { value: right.value })
  for (const record of [good.meant, null]) lab.oracle.add(65_535, record)
  lab.oracle.add(0, right.meant!.map((fact) => ({ ...fact, source: 'old-shop' })))
  await countAll()
  expect((await checkExact(lab)).accounts.get(0)).toMatchObject({ accepted: 3, conflicts: 0, copies: 0 })
})
