/** The system under a model run, and what each command does to it. The expected figures are the oracle's; nothing here works any out. */
import { strict as assert } from 'node:assert'
import type { ArchiveOptions } from '#batch/archive.ts'
import { archiveCommitted, archiveUpTo } from '#batch/archive.ts'
import { compactArchive } from '#batch/compact.ts'
import { sweepOrphans } from '#batch/orphans.ts'
import { ConflictError, FencedError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { resumePublishing, rollBack } from '#store/batches.ts'
import { cutEpoch } from '#store/epochs.ts'
import type { FlushFaults } from '#store/flush.ts'
import { mergeSmallPages } from '#store/ledger-pages.ts'
import { mergeLiveRows } from '#store/live-rows.ts'
import { pruneStore } from '#store/prune.ts'
import type { Lab } from '#test/lab.ts'
import { CrashError, runLabBatch } from '#test/lab/crash.ts'
import { cutBefore, startWaitingCut } from '#test/lab/epoch-lock.ts'
import type { Merged } from '#test/lab/merged.ts'
import { expectExact, readMerged } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import type { IntentKind } from '#test/lab/shop-stream.ts'
import { ShopStream } from '#test/lab/shop-stream.ts'
import { StepWorker, readLog } from '#test/lab/step-worker.ts'
import type { Command, FlushCrashPoint } from './commands.ts'
import type { ImportFolder } from './imports.ts'
import { ModelImports } from './imports.ts'
import { ModelReports } from './reports.ts'

/** What happened in all runs of a process: crash points, and outcomes that a suite without faults would never see. */
export class Coverage {
  readonly #hits = new Map<string, number>()

  hit(name: string): void {
    this.#hits.set(name, this.count(name) + 1)
  }

  count(name: string): number {
    return this.#hits.get(name) ?? 0
  }
}

const slots = 4
const ledgerIdsMax = 100_000

export class World {
  readonly #lab: Lab
  readonly #shop: ShopStream
  readonly #coverage: Coverage
  /** Up to four workers, which may own the same partitions; null where there is none. */
  readonly #workers: (StepWorker | null)[] = Array.from({ length: slots }, () => null)
  #seen: Merged | null = null

  readonly #reports: ModelReports
  readonly #imports: ModelImports

  /** The lab must be clear. */
  constructor(lab: Lab, imports: ImportFolder, coverage: Coverage) {
    this.#lab = lab
    this.#imports = new ModelImports(lab, imports, coverage)
    this.#reports = new ModelReports(lab, (name) => coverage.hit(name))
    this.#coverage = coverage
    this.#shop = new ShopStream(lab.topic, lab.partitions, false)
  }

  async apply(command: Command): Promise<void> {
    switch (command.do) {
      case 'produce':
        return this.#produce(command.kinds, command.seed)
      case 'open':
        return this.#open(command.slot, command.mask)
      case 'read':
        return this.#read(command.slot, command.partition, command.records)
      case 'flush':
        return this.#flush(command.slot)
      case 'drop':
        return this.#drop(command.slot)
      case 'crash flush':
        return this.#crashFlush(command.slot, command.point)
      case 'zombie':
        return this.#zombie(command.slot)
      case 'race':
        return this.#race(command.mask)
      case 'flush across cut':
        return this.#flushAcrossCut(command.slot)
      case 'flush behind cut':
        return this.#flushBehindCut(command.slot)
      case 'rebalance':
        return this.#rebalance(command.mask)
      case 'replay':
        return this.#replay(command.slot)
      case 'cut':
        await cutEpoch(this.#lab.database, this.#lab.decoder.logicVersion)
        return
      case 'archive':
        return this.#archive(command.archivers)
      case 'batch':
        return this.#batch(command.full)
      case 'crash batch':
        return this.#crashBatch(command)
      case 'two batches':
        return this.#twoBatches(command.step)
      case 'roll back':
        return this.#rollBack()
      case 'resume':
        await resumePublishing(this.#lab.database)
        return
      case 'prune':
        await pruneStore(this.#lab.database, command.keep, ledgerIdsMax)
        return
      case 'merge pages':
        if ((await mergeSmallPages(this.#lab.database, 2)) > 0) this.#coverage.hit('pages merged')
        return
      case 'merge rows':
        if ((await mergeLiveRows(this.#lab.database, { rowsMin: 2 })) > 0) this.#coverage.hit('rows merged')
        return
      case 'sweep':
        return this.#sweep()
      case 'report':
        return this.#reports.report(command.kind, command.pick, await readMerged(this.#lab))
      case 'refresh reports':
        return this.#reports.refresh()
      case 'seasons':
        return this.#reports.setSeasons(command.table)
      case 'late event':
        return this.#lateEvent(command.seed)
      case 'archive committed':
        await archiveCommitted({ ...this.#archiveOptions(), fileOffsetsMax: 20 })
        return
      case 'compact':
        return this.#compact()
      case 'import':
        return this.#imports.import(command.lines, command.seed, command.stopAfterChunks)
      case 'finish imports':
        return this.#imports.finish()
      case 'quiesce':
        return this.quiesce()
    }
  }

  /** I1 to I6 and I8, as they stand now. */
  async check(): Promise<void> {
    const before = this.#seen
    const produced = this.#lab.oracle.ends()
    const merged = await readMerged(this.#lab)
    expectExact(merged, this.#lab.oracle.expect(merged.n))
    for (const [partition, offset] of merged.n) {
      assert.ok(offset <= (produced.get(partition) ?? 0), `partition ${partition} is read beyond its end`)
      assert.ok(offset >= (before?.n.get(partition) ?? 0), `partition ${partition} went back`)
    }
    const totalsBefore = before === null ? new Map<string, bigint>() : totals(before)
    for (const [name, total] of totals(merged)) assert.ok(total >= (totalsBefore.get(name) ?? 0n), `${name} fell`)
    await this.#checkHorizon(merged)
    await this.#reports.check()
    this.#seen = merged
  }

  /** Heals everything, reads everything, publishes, and leaves nothing behind the end. */
  async quiesce(): Promise<void> {
    await resumePublishing(this.#lab.database)
    this.#workers.fill(null)
    await this.#open(0, 7)
    await this.#workers[0]!.readAll()
    await this.#flush(0)
    await this.#imports.finish()
    await this.#batch(false)
    const { n } = await readMerged(this.#lab)
    for (const [partition, end] of this.#lab.oracle.ends()) assert.equal(n.get(partition), end, `partition ${partition} is read to its end`)
    await this.#reports.refresh()
    await this.#reports.checkAllFiles()
  }

  /** I2: the horizon of what is published lies at or below N, in every partition. */
  async #checkHorizon(merged: Merged): Promise<void> {
    const { rows } = await this.#lab.database.pool.query<{ partition: number; next_offset: bigint }>('SELECT partition, next_offset FROM cut_offsets WHERE epoch = $1', [merged.epoch])
    for (const { partition, next_offset } of rows) assert.ok(Number(next_offset) <= merged.n.get(partition)!, `the horizon of partition ${partition} lies above N`)
  }

  async #produce(kinds: readonly IntentKind[], seed: number): Promise<void> {
    const random = seededRandom(seed)
    const records = kinds.map((kind) => this.#shop.next(kind, random)).filter((record) => record !== null)
    if (records.length > 0) await this.#lab.append(records)
  }

  async #open(slot: number, mask: number): Promise<void> {
    const partitions = [0, 1, 2].filter((partition) => (mask & (1 << partition)) !== 0)
    this.#workers[slot] = await StepWorker.open(this.#lab, partitions, ledgerIdsMax)
  }

  /** The worker of the slot; a process that ended is started again by whoever runs it. */
  async #worker(slot: number): Promise<StepWorker> {
    if (this.#workers[slot] === null) await this.#open(slot, slot === 0 ? 7 : 1 + ((slot * 3) % 7))
    return this.#workers[slot]!
  }

  #drop(slot: number): void {
    this.#workers[slot] = null
  }

  async #read(slot: number, partition: number, records: number): Promise<void> {
    const worker = await this.#worker(slot)
    await worker.read(worker.partitions[partition % worker.partitions.length]!, records)
  }

  /** Crash-only: a worker whose flush failed is gone. */
  async #flush(slot: number, faults: FlushFaults = {}): Promise<void> {
    const worker = await this.#worker(slot)
    try {
      await worker.flush(faults)
    } catch (thrown) {
      this.#drop(slot)
      if (thrown instanceof FencedError) this.#coverage.hit('fenced flush')
      else if (!(thrown instanceof CrashError || thrown instanceof UnavailableError)) throw thrown
    }
  }

  async #filled(slot: number): Promise<StepWorker> {
    const worker = await this.#worker(slot)
    if (!worker.isEmpty) return worker
    await this.#produce(['sale', 'order', 'copy'], 1 + slot)
    await worker.readAll()
    return worker
  }

  async #crashFlush(slot: number, point: FlushCrashPoint): Promise<void> {
    const worker = await this.#filled(slot)
    if (worker.isEmpty) return
    const hit = (): void => this.#coverage.hit(`flush ${point}`)
    const crash = async (): Promise<void> => {
      hit()
      throw new CrashError(point)
    }
    const faults: Readonly<Record<FlushCrashPoint, FlushFaults>> = {
      'before the transaction': { beforeBegin: crash },
      'in the transaction': { beforeCommit: crash },
      'connection lost in the transaction': {
        beforeCommit: async (client) => {
          hit()
          const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
          await this.#lab.database.pool.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid])
        },
      },
      'after the commit': { afterCommit: crash },
    }
    await this.#flush(slot, faults[point])
    this.#drop(slot)
  }

  /** Stopped with a flush in hand, overtaken by another, resumed: its flush changes nothing. */
  async #zombie(slot: number): Promise<void> {
    const zombie = await this.#filled(slot)
    if (zombie.isEmpty) return
    const other = (slot + 1) % slots
    this.#workers[other] = await StepWorker.open(this.#lab, zombie.partitions, ledgerIdsMax)
    await this.#workers[other].readAll()
    await this.#flush(other)
    await this.#flush(slot)
    this.#coverage.hit('zombie')
  }

  /** Several workers flush at the same moment. */
  async #race(mask: number): Promise<void> {
    const racing = [0, 1, 2, 3].filter((slot) => slot === 3 || (mask & (1 << slot)) !== 0)
    for (const slot of racing) await (await this.#worker(slot)).readAll()
    await Promise.all(racing.map((slot) => this.#flush(slot)))
  }

  /** A flush that has read its epoch and not yet committed, while a cut waits for it. */
  async #flushAcrossCut(slot: number): Promise<void> {
    const worker = await this.#filled(slot)
    if (worker.isEmpty) return
    const cuts: Promise<unknown>[] = []
    await this.#flush(slot, {
      beforeCommit: async () => {
        cuts.push((await startWaitingCut(this.#lab)).cut)
        this.#coverage.hit('cut waited for a flush')
      },
    })
    await Promise.all(cuts)
  }

  /** A flush that begins while a cut waits: it must read the epoch after it. */
  async #flushBehindCut(slot: number): Promise<void> {
    const worker = await this.#filled(slot)
    if (worker.isEmpty) return
    await cutBefore(this.#lab, () => this.#flush(slot))
    this.#coverage.hit('flush waited for a cut')
  }

  async #rebalance(mask: number): Promise<void> {
    // The old owners are not told: they find out at their next flush.
    await this.#open(2, mask)
    if (mask !== 7) await this.#open(3, 7 - mask)
  }

  /** The log hands everything out again from the start, as after a deleted consumer group. */
  async #replay(slot: number): Promise<void> {
    const worker = await this.#worker(slot)
    for (const partition of worker.partitions) {
      const to = worker.position(partition)
      if (to > 0) for (const batch of await readLog(this.#lab, partition, 0, to)) worker.redeliver(batch)
    }
    if (worker.skippedReplays > 0) this.#coverage.hit('replay skipped')
    await this.#flush(slot)
  }

  async #archive(archivers: 1 | 2): Promise<void> {
    const { database, decoder } = this.#lab
    const { epoch } = await cutEpoch(database, decoder.logicVersion)
    const options = this.#archiveOptions()
    await Promise.all(Array.from({ length: archivers }, () => archiveUpTo(options, epoch)))
  }

  #archiveOptions(): ArchiveOptions {
    const { database, decoder, log, lake } = this.#lab
    return { database, log, lake, codec: parquetCodec, decoder, fileOffsetsMax: 20, signal: new AbortController().signal }
  }

  /** A late sale, counted and published: what a closed month's report must be restated by. */
  async #lateEvent(seed: number): Promise<void> {
    await this.#produce(['late', 'late', 'refund'], seed)
    const worker = await this.#worker(0)
    await worker.readAll()
    await this.#flush(0)
    if (await this.#isPaused()) return
    await this.#batch(false)
    await this.#reports.refresh()
  }

  async #compact(): Promise<void> {
    const { database, lake, engine } = this.#lab
    const { merged } = await compactArchive({ database, lake, engine, codec: parquetCodec, fileOffsetsMax: 40, signal: new AbortController().signal })
    if (merged.length > 0) this.#coverage.hit('files merged')
  }

  async #isPaused(): Promise<boolean> {
    const { rowCount } = await this.#lab.database.pool.query('SELECT FROM publish_pointer WHERE paused_reason IS NOT NULL')
    return rowCount === 1
  }

  async #batch(full: boolean): Promise<void> {
    const paused = await this.#isPaused()
    try {
      const { crossCheck } = await runLabBatch(this.#lab, { full })
      assert.equal(crossCheck.summary.result, 'exact', crossCheck.summary.text)
      assert.equal(paused, false, 'published although publishing was paused')
      this.#coverage.hit('batch published')
    } catch (thrown) {
      if (!(paused && thrown instanceof ConflictError)) throw thrown
    }
  }

  async #crashBatch(crash: Extract<Command, { do: 'crash batch' }>): Promise<void> {
    if (await this.#isPaused()) await resumePublishing(this.#lab.database)
    await this.#filled(0)
    await this.#flush(0)
    const onCrash = (): void => this.#coverage.hit(`${crash.point} by ${crash.manner}`)
    try {
      await runLabBatch(this.#lab, { full: crash.full, crash: { point: crash.point, manner: crash.manner, passes: crash.passes, onCrash } })
    } catch (thrown) {
      if (!(thrown instanceof CrashError)) throw thrown
    }
  }

  /** A second batch, cut later, is published while the first stands before `step`. */
  async #twoBatches(step: Extract<Command, { do: 'two batches' }>['step']): Promise<void> {
    if (await this.#isPaused()) return
    const engine = await this.#lab.secondEngine()
    let met = false
    const first = runLabBatch(this.#lab, {
      before: async (at) => {
        if (at !== step || met) return
        met = true
        await this.#filled(1)
        await this.#flush(1)
        const second = await runLabBatch(this.#lab, { engine })
        assert.equal(second.crossCheck.summary.result, 'exact', second.crossCheck.summary.text)
        await this.check()
      },
    })
    // Before its cut the first had not chosen its base yet; afterwards it must lose, since it was checked against a base that serves no more.
    if (step === 'cut') await first
    else {
      const lost = await first.then(
        () => null,
        (thrown: unknown) => thrown,
      )
      if (met) {
        assert.ok(lost instanceof ConflictError, `the overtaken batch was published, or failed otherwise: ${String(lost)}`)
        this.#coverage.hit('batch overtaken')
      } else assert.equal(lost, null)
    }
  }

  async #rollBack(): Promise<void> {
    const { rowCount } = await this.#lab.database.pool.query(`SELECT FROM batches b, publish_pointer x WHERE b.status = 'published' AND b.epoch < x.epoch`)
    try {
      await rollBack(this.#lab.database)
      assert.ok(rowCount !== null && rowCount > 0, 'rolled back to a batch that is not there')
      this.#coverage.hit('rolled back')
    } catch (thrown) {
      if (!(rowCount === 0 && thrown instanceof InvalidRequestError)) throw thrown
    }
  }

  async #sweep(): Promise<void> {
    const { database, lake, topic } = this.#lab
    const { moved } = await sweepOrphans({ database, lake, topics: [topic], nowMs: Date.now() + 60_000, orphanAfterMs: 0, deleteAfterMs: 0 })
    if (moved.length > 0) this.#coverage.hit('orphan swept')
  }
}

function totals(merged: Merged): Map<string, bigint> {
  const sums = new Map<string, bigint>()
  for (const [view, cells] of merged.views) {
    for (const name of ['transactions', 'refundEvents', 'unitsSold', 'gross', 'refunds'] as const) {
      sums.set(`${name} of ${view}`, [...cells.values()].reduce((sum, cell) => sum + cell[name], 0n))
    }
  }
  return sums
}
