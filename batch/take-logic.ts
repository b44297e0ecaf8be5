/**
 * What a full batch of another logic version makes ready between its last cut and its publication, while no flush commits: the difference of every key,
 * booked as corrections with the reason `logic`, so that the equation holds between any two kept batches and a roll-back moves no figure; and from the
 * archive as it is decoded now the ledger, the dead letters and each partition's totals. The figures of before cannot be held against those of now, so
 * what is checked instead is that every row of every registered file was read.
 */
import type { Decoder } from '#core/decode.ts'
import { CorruptError } from '#core/errors.ts'
import { writeIdKey } from '#core/id-key.ts'
import { PageWriter, readPage } from '#core/ledger-page.ts'
import type { LogHeaders, QueryEngine } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import type { Batch } from '#store/batches.ts'
import { noCorrections } from '#store/corrections.ts'
import type { Base, EpochCount } from '#store/cross-check.ts'
import { countDifferences, differencesOf, liveCounts } from '#store/cross-check.ts'
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'
import { bytesErased } from '#store/dead-letters.ts'
import { readPages } from '#store/ledger-pages.ts'
import type { LetterPlace, LogicChange, PartitionAccount } from '#store/logic-change.ts'
import { ledgerBegins, letterKey, readLetterPlaces, stageLetter, stagePage, stageRemovals } from '#store/logic-change.ts'
import type { LogTerms } from '#store/losses.ts'
import { lossAt, readLogTerms } from '#store/losses.ts'
import type { CrossCheck, CrossCheckSummary } from './cross-check.ts'
import { conditionOf, countDeltas } from './explain.ts'
import { parseTimestamp } from './file-rows.ts'
import { allRows } from './recompute.ts'
import type { Redecoded } from './redecode.ts'
import { batchSql } from './sql-files.ts'

export type TakeLogicOptions = {
  readonly database: Database
  readonly engine: QueryEngine
  readonly decoder: Decoder
  readonly topic: string
  readonly signal: AbortSignal
}

const pageIdsMax = 100_000
const recordsPerQuery = 500
const listedMax = 100

/** `new_events` must be the whole archive up to the batch's cut as it is decoded now, and `counted_events` what counts of it. */
export async function takeLogic(options: TakeLogicOptions, batch: Batch, base: Base, from: string, stages: ReadonlyMap<string, number>, counts: readonly EpochCount[], redecoded: Redecoded): Promise<{ check: CrossCheck; change: LogicChange }> {
  const { database, topic, signal } = options
  const terms = await readLogTerms(database.pool, topic)
  const deltas = countDeltas(counts, await liveCounts(database.pool, topic, 0, batch.epoch))
  const accounts = await readAccounts(options, terms)
  signal.throwIfAborted()
  await stageLedger(options, batch, terms)
  signal.throwIfAborted()
  const letters = await stageLetters(options, batch, terms)
  const differences = new Map(views.map((view) => [view.name as string, differencesOf(view, batch, base, stages.get(view.name)!)]))
  let keysDiffering = 0
  for (const view of views) keysDiffering += await countDifferences(database.pool, view, batch, base, stages.get(view.name)!)
  const { listed, ...sums } = redecoded
  const summary: CrossCheckSummary = {
    result: keysDiffering > 0 || deltas.length > 0 ? 'corrected' : 'exact',
    text: textOf(from, batch.logicVersion!, redecoded, keysDiffering),
    checkedAt: new Date().toISOString(),
    keysDiffering,
    corrections: keysDiffering,
    correctionsByReason: keysDiffering > 0 ? { logic: keysDiffering } : {},
    unexplainedKeys: [],
    unexplainedEvents: [],
    differingCounts: deltas.slice(0, listedMax).map((delta) => delta.count),
    unexplainedCounts: [],
    logic: { from, to: batch.logicVersion!, ...sums, lettersAdded: letters.added, lettersRemoved: letters.removed, listed },
  }
  const countChanges = deltas.map(({ count, events, hashHiSum, hashLoSum }) => ({ epoch: count.epoch, partition: count.partition, events, hashHiSum, hashLoSum }))
  return { check: { summary, corrections: { ...noCorrections, remaining: { reason: 'logic', differences } } }, change: { topic, counts: countChanges, accounts } }
}

function textOf(from: string, to: string, { records, changed, refusedAnew, acceptedAnew }: Redecoded, keys: number): string {
  return `Made anew from ${records} records with "${to}" in the place of "${from}": ${changed} events changed, ${refusedAnew} are refused anew, ${acceptedAnew} accepted anew; ${keys} keys differ, and are booked.`
}

/** Of a partition with a lost range the archive does not know all: its totals stay. */
async function readAccounts({ engine }: TakeLogicOptions, terms: LogTerms): Promise<PartitionAccount[]> {
  const rows = (await allRows(engine.query(batchSql('accounts')))) as bigint[][]
  return rows
    .map(([partition, refused, accepted, copies, conflicts, late]) => ({ partition: Number(partition), refused: refused!, accepted: accepted!, copies: copies!, conflicts: conflicts!, late: late! }))
    .filter(({ partition }) => !terms.losses.has(partition))
}

/** The ledger as today's logic would have written it, as far back as its pages reach. */
async function stageLedger(options: TakeLogicOptions, batch: Batch, terms: LogTerms): Promise<void> {
  const { database, engine, topic } = options
  let place = 0
  for (const [partition, from] of await ledgerBegins(database.pool, topic)) {
    const pages = new Pages(async (epoch, page, fromOffset, toOffset) => {
      await stagePage(database.pool, batch.batch, ++place, { topic, partition, epoch, fromOffset, toOffset, ids: page.count, entries: page.bytes() })
    })
    await keepLost(options, terms, partition, pages)
    const key = new Uint32Array(4)
    const select = batchSql('ledger').replace(':partition', String(partition)).replace(':from_offset', String(from))
    for await (const { rows } of engine.query(select)) {
      for (const row of rows) {
        const [epoch, offset, index, source, eventId, checksum] = row as [bigint, bigint, bigint, string, string, bigint]
        writeIdKey(source, eventId, key, 0)
        await pages.add(Number(epoch), key, Number(checksum), Number(offset), Number(index))
      }
      options.signal.throwIfAborted()
    }
    await pages.end()
  }
}

/** Ids of lost ranges: the archive has them not, and what is sent again must still be known by them. */
async function keepLost({ database, topic }: TakeLogicOptions, terms: LogTerms, partition: number, pages: Pages): Promise<void> {
  for (const { from, to } of terms.losses.get(partition) ?? []) {
    const lost = await run<{ page: bigint; epoch: bigint }>(
      database.pool,
      'SELECT page, epoch FROM ledger_pages WHERE topic = $1 AND partition = $2 AND from_offset < $4 AND to_offset > $3 ORDER BY page',
      [topic, partition, from, to],
    )
    for (const { page, epoch } of lost) {
      const kept: { readonly key: Uint32Array; readonly checksum: number; readonly offset: number; readonly index: number }[] = []
      for (const { entries } of await readPages(database.pool, [page])) {
        readPage(entries, (key, entry) => {
          if (entry.offset >= from && entry.offset < to) kept.push({ key: key.slice(), ...entry })
        })
      }
      for (const { key, checksum, offset, index } of kept) await pages.add(Number(epoch), key, checksum, offset, index)
    }
  }
  await pages.end()
}

/** Gathers entries of one partition into pages of one epoch each. */
class Pages {
  readonly #store: (epoch: number, page: PageWriter, fromOffset: number, toOffset: number) => Promise<void>
  #page = new PageWriter()
  #epoch = 0
  #from = 0
  #to = 0

  constructor(store: (epoch: number, page: PageWriter, fromOffset: number, toOffset: number) => Promise<void>) {
    this.#store = store
  }

  async add(epoch: number, key: Uint32Array, checksum: number, offset: number, index: number): Promise<void> {
    if (epoch !== this.#epoch || this.#page.count >= pageIdsMax) await this.end()
    if (this.#page.count === 0) this.#from = offset
    this.#epoch = epoch
    this.#to = offset + 1
    this.#page.add(key, 0, checksum, offset, index)
  }

  async end(): Promise<void> {
    const page = this.#page
    if (page.count === 0) return
    this.#page = new PageWriter()
    await this.#store(this.#epoch, page, this.#from, this.#to)
  }
}

type Letter = LetterPlace & { readonly reason: string; readonly eventId: string | null; readonly source: string | null; readonly first: { readonly partition: number; readonly offset: number } | null }

/** Stages those dead letters that come, change or go; those that stay as they are may be many. */
async function stageLetters(options: TakeLogicOptions, batch: Batch, terms: LogTerms): Promise<{ added: number; removed: number }> {
  const { database, engine, topic } = options
  const standing = await readLetterPlaces(database.pool, topic)
  let pending: Letter[] = []
  let added = 0
  for await (const { rows } of engine.query(batchSql('letters'))) {
    for (const row of rows) {
      const letter = letterOf(row)
      const stood = standing.get(letterKey(letter))
      standing.delete(letterKey(letter))
      if (stood?.reason === letter.reason && (letter.first === null || stood.firstOffset === letter.first.offset)) continue
      added++
      pending.push(letter)
    }
    for (; pending.length >= recordsPerQuery; pending = pending.slice(recordsPerQuery)) await stageFound(options, batch, pending.slice(0, recordsPerQuery))
  }
  if (pending.length > 0) await stageFound(options, batch, pending)
  // What a lost range held, nobody can judge again.
  const removals = [...standing.values()].filter(({ partition, offset }) => lossAt(terms, partition, offset) === undefined)
  if (removals.length > 0) await stageRemovals(database.pool, batch.batch, topic, removals)
  return { added, removed: removals.length }
}

function letterOf(row: readonly unknown[]): Letter {
  const [partition, offset, index, reason, eventId, source, firstPartition, firstOffset] = row as [bigint, bigint, bigint, string, string | null, string | null, bigint | null, bigint | null]
  const first = firstPartition === null || firstOffset === null ? null : { partition: Number(firstPartition), offset: Number(firstOffset) }
  return { partition: Number(partition), offset: Number(offset), index: Number(index), reason, eventId, source, first }
}

async function stageFound(options: TakeLogicOptions, batch: Batch, letters: readonly Letter[]): Promise<void> {
  const { database, engine, decoder, topic } = options
  const records = new Map<string, { readonly logTimeMs: number; readonly headers: string | null; readonly bytes: Buffer }>()
  for (const row of await allRows(engine.query(batchSql('records_at').replace(':positions', () => conditionOf(letters))))) {
    const [partition, offset, logTime, headers, bytes] = row as [bigint, bigint, string, string | null, string | null]
    const logTimeMs = parseTimestamp(logTime)
    if (logTimeMs === null) throw new CorruptError(`The archive holds the log time ${logTime} at offset ${offset} of partition ${partition}, which is none.`)
    records.set(`${partition}:${offset}`, { logTimeMs, headers, bytes: Buffer.from(bytes ?? '', 'base64') })
  }
  let before = ''
  for (const letter of letters) {
    const { partition, offset, index, reason, first } = letter
    const at = `${partition}:${offset}`
    const record = records.get(at)
    if (record === undefined) throw new CorruptError(`The archive holds no record at offset ${offset} of partition ${partition}, which is refused there.`)
    const { logTimeMs, headers, bytes } = record
    const detail = reason === 'conflict' ? `event ${letter.eventId} of ${letter.source} stands first at partition ${first?.partition}, offset ${first?.offset}, with other fields${bytes.length === 0 ? bytesErased : ''}` : detailOf(decoder, topic, record)
    // An order may have many lines that conflict: its bytes stand with the first of them.
    await stageLetter(database.pool, batch.batch, topic, { partition, offset, index, reason, detail, logTimeMs, first, headers, bytes: at === before ? Buffer.alloc(0) : bytes })
    before = at
  }
}

/** What decoding says of a refused record. */
function detailOf(decoder: Decoder, topic: string, { bytes, headers, logTimeMs }: { readonly bytes: Buffer; readonly headers: string | null; readonly logTimeMs: number }): string {
  const decoded = decoder.decode({ value: bytes, logTimeMs, headers: headers === null ? null : (JSON.parse(headers) as LogHeaders) }, topic)
  return 'refusal' in decoded ? decoded.refusal.detail : ''
}
