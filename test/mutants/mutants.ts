/**
 * The deliberate bugs: what each breaks, and the tests that must catch it. `patches/<name>.patch` holds the change. A bug that nobody catches is a hole in
 * the suite: write the test that is missing, beside the others, and leave the bug as it is.
 */
import type { NamedTest } from './run-tests.ts'
import type { Expectation } from './verdict.ts'

export type Mutant = Expectation & { readonly name: string; readonly breaks: string }

const workerStop = 'test/integration/speed/worker-stop.test.ts'
const speedRows = 'test/faults/speed-rows.test.ts'
const dataRows = 'test/faults/data-rows.test.ts'
const lakeRows = 'test/faults/lake-rows.test.ts'
const interleavings = 'test/faults/interleavings.test.ts'
const answers = 'test/integration/serving/answers.test.ts'
const asOf = 'test/integration/serving/as-of.test.ts'
const history = 'test/integration/serving/history.test.ts'
const interruptions = 'test/integration/store/interruptions.test.ts'
const reports = 'test/integration/batch/reports.test.ts'
const reportRules = 'test/integration/batch/report-rules.test.ts'
const batches = 'test/integration/store/batches.test.ts'
const rebuiltTopic = 'test/integration/store/rebuilt-topic.test.ts'
const cuts = 'test/integration/batch/cuts.test.ts'
const scan = 'test/integration/batch/scan.test.ts'
const incremental = 'test/integration/batch/incremental.test.ts'
const betweenCuts = 'test/integration/batch/between-cuts.test.ts'
const compaction = 'test/faults/compaction-rows.test.ts'
const sources = 'test/integration/batch/sources.test.ts'
const logicChange = 'test/integration/batch/logic-change.test.ts'
const restatedUnits = 'test/unit/core/restate.test.ts'
const erasing = 'test/integration/batch/erase.test.ts'
const layerLaws = 'test/integration/laws/layers.test.ts'
const agreement = 'test/unit/generator/decoder-agreement.test.ts'
const idKey = 'test/unit/core/id-key.test.ts'
const postgresLog = 'test/integration/engines/postgres-log.test.ts'
const searchLaws = 'test/integration/search/laws.test.ts'
const searchRows = 'test/faults/search-rows.test.ts'
const logContract = 'test/contract/postgres-log.test.ts'
const lakeContract = 'test/contract/disk-lake.test.ts'
const rebuiltTopics = 'test/faults/rebuilt-topics.test.ts'
const lossRows = 'test/faults/loss-rows.test.ts'
const seasonTable = 'test/unit/core/season-table.test.ts'
const deliveries = 'test/integration/batch/deliveries.test.ts'
const storeBackup = 'test/integration/store/backup.test.ts'
const backupRows = 'test/faults/backup-rows.test.ts'
const queryEndings = 'test/contract/duckdb-endings.test.ts'
const dueUnits = 'test/unit/batch/due.test.ts'
const runLedger = 'test/integration/batch/schedule-ledger.test.ts'

const importLaws = 'test/integration/laws/imports.test.ts'
const importRows = 'test/faults/import-rows.test.ts'
const temporaryFolders = 'test/integration/engines/temporary-folder.test.ts'
const references = 'test/integration/speed/references.test.ts'
const deadLetters = 'test/integration/store/dead-letters.test.ts'

function by(file: string, title: string): NamedTest {
  return { file, title }
}

/** Each runs alone; the order is that of the layers. */
export const mutants: readonly Mutant[] = [
  { name: '01-fence-dropped', breaks: 'a flush moves an offset from wherever it stands', caughtBy: [by(speedRows, 'S21 a replay from offset 0 into tables that are not empty is fenced')] },
  { name: '02-epoch-read-while-waiting', breaks: 'the statement that waits for the lock reads the epoch', caughtBy: [by(interleavings, 'a flush that waits for a cut belongs to the epoch after it')] },
  { name: '03-cut-beside-flushes', breaks: 'a cut takes no lock', caughtBy: [by(interleavings, 'a cut that waits for a flush has it below its horizon')], noticedWith: 'Error: Waited ' },
  { name: '04-opening-in-two-snapshots', breaks: 'offsets and ledger pages are read at two moments', caughtBy: [by(interruptions, 'a partition is opened with the offset and the ids of one moment')] },
  { name: '05-ledger-page-forgotten', breaks: 'a flush stores deltas without their ids', caughtBy: [by(interleavings, 'a partition opened while its owner flushes: offset and ids are of one moment')] },
  { name: '06-horizon-skips-a-record', breaks: '> for >= where reading goes on', caughtBy: [by(layerLaws, 'the fold of a stream is the sum of the folds of its pieces')] },
  { name: '07-poison-swallowed', breaks: 'a refused record leaves no dead letter', caughtBy: [by(interleavings, 'a city of 3 KB is refused, and its neighbours are counted')] },
  { name: '08-poison-takes-its-neighbours', breaks: 'what follows a refused record in its batch is not counted', caughtBy: [by(interleavings, 'a city of 3 KB is refused, and its neighbours are counted')] },
  { name: '09-answers-reach-below-the-horizon', breaks: 'readers take epoch >= e', caughtBy: [by(answers, 'adds the published batch and the live rows above its epoch')] },
  { name: '10-merged-view-reaches-below-the-horizon', breaks: 'the merged view takes epoch >= e', caughtBy: [by(interleavings, 'a conflict whose smaller position arrives after the horizon')] },
  { name: '11-horizon-by-event-time', breaks: 'event time decides which layer answers', caughtBy: [by(dataRows, 'D4 an hour, 40 days or 14 months late')] },
  { name: '12-top-lists-merged', breaks: 'two top-5 lists are merged', caughtBy: [by(answers, 'V3: a product that is sixth in both layers can be first')] },
  { name: '13-currencies-added-up', breaks: 'a sum crosses currencies', caughtBy: [by(answers, 'a second currency that comes after many answers in one is never added to the first')] },
  { name: '14-currency-left-out-of-keys', breaks: 'the fold knows one currency', caughtBy: [by(layerLaws, 'the fold of a stream is the sum of the folds of its pieces')] },
  { name: '15-half-an-answer', breaks: 'live figures pass for the total where batch rows are gone', caughtBy: [by(answers, 'V2: a batch view that is not whole is never answered from')] },
  { name: '16-money-through-a-float', breaks: 'pence are parsed as a float', caughtBy: [by(agreement, 'history of a shop in')] },
  { name: '17-days-by-utc', breaks: 'the local day is that of UTC', caughtBy: [by(dataRows, 'D6 each edge falls on the day that the zone’s rule says')] },
  { name: '18-months-by-utc', breaks: 'the archive’s month is that of UTC', caughtBy: [by(dataRows, 'D6 each edge falls on the day that the zone’s rule says')], noticedWith: 'HeldError' },
  { name: '19-late-by-event-time', breaks: 'late is judged by the event’s time alone', caughtBy: [by(agreement, 'history of a shop in')] },
  { name: '20-future-by-our-clock', breaks: 'a clock of ours decides about an event', caughtBy: [by(interleavings, 'an event 30 hours ahead, batched ten hours later')] },
  { name: '21-refund-lowers-gross', breaks: 'a refund lowers gross', caughtBy: [by(layerLaws, 'the fold of a stream is the sum of the folds of its pieces')] },
  { name: '22-refund-on-the-day-of-the-sale', breaks: 'a refund counts on the day of its sale', caughtBy: [by(agreement, 'history of a shop in')] },
  { name: '23-ids-without-their-source', breaks: 'the ledger’s key leaves the source out', caughtBy: [by(sources, 'of two sources counts twice, and each copy is one of its own source')] },
  { name: '24-copies-without-their-source', breaks: 'the batch finds copies by id alone', caughtBy: [by(sources, 'of two sources counts twice, and each copy is one of its own source')], noticedWith: 'HeldError' },
  { name: '25-checksum-ignores-a-field', breaks: 'a conflict in the tax passes for a copy', caughtBy: [by(idKey, 'taxMinor')] },
  { name: '26-last-copy-counts', breaks: 'the batch counts the last copy', caughtBy: [by(dataRows, 'the first counts, the other is a dead letter with both positions')], noticedWith: 'HeldError' },
  { name: '27-first-copy-without-its-epoch', breaks: 'a later epoch’s smaller position wins', caughtBy: [by(dataRows, 'D2 the smaller position comes after the horizon')], noticedWith: 'HeldError' },
  { name: '28-file-straddles-a-cut', breaks: 'an archive file holds two epochs', caughtBy: [by(cuts, 'an archiver that comes after several cuts writes files of one epoch each')], noticedWith: 'ConflictError' },
  { name: '29-archive-begins-behind-the-horizon', breaks: '> for >= where a file begins', caughtBy: [by(cuts, 'an archiver that comes after several cuts writes files of one epoch each')], noticedWith: 'HeldError' },
  { name: '30-archive-unverified', breaks: 'the archiver trusts what it wrote', caughtBy: [by(lakeRows, 'with one other bit in its data')] },
  { name: '31-footer-rows-not-counted', breaks: 'rows that were never written are not missed', caughtBy: [by(lakeRows, 'L9 rows that were handed over and never written')] },
  { name: '32-file-replaced', breaks: 'a put overwrites another’s file', caughtBy: [by(lakeContract, 'lets exactly one of many writers of a path win')] },
  { name: '33-link-trusted', breaks: 'a link that failed passes for done', caughtBy: [by(lakeContract, 'lets exactly one of many writers of a path win')] },
  { name: '34-listing-for-the-register', breaks: 'the lake’s listing decides what is read', caughtBy: [by(lakeRows, 'L6 a file that nobody registered, of the right name and content')], noticedWith: 'CorruptError' },
  { name: '35-two-archivers-register-a-range', breaks: 'a range is registered wherever the archive ends', caughtBy: [by(lakeRows, 'L8 two archivers of one partition')] },
  { name: '36-read-sums-unchecked', breaks: 'what the query engine read is not held against the register', caughtBy: [by(scan, 'nothing is published and the files are named')] },
  { name: '37-query-ends-early', breaks: 'an error half-way looks like the end of the rows', caughtBy: [by(queryEndings, 'of a million throws, and gives no rows as if they were all')] },
  { name: '38-month-loses-its-base', breaks: 'a month’s new version forgets the base’s rows', caughtBy: [by(dataRows, 'D4 an hour, 40 days or 14 months late')] },
  { name: '39-counts-unchecked', breaks: 'the cross-check compares figures alone', caughtBy: [by(cuts, 'an error that cancels in every figure is seen by the counts')] },
  { name: '40-keys-unchecked', breaks: 'the cross-check compares counts alone', caughtBy: [by(interleavings, 'a held batch serves nothing, and is accepted once publishing goes on')] },
  { name: '41-corrections-not-booked', breaks: 'a publication forgets its corrections', caughtBy: [by(interleavings, 'a roll-back after a corrected copy, then the next night')] },
  { name: '42-publish-on-another-base', breaks: 'a publication does not compare its base', caughtBy: [by(batches, 'a batch that was checked against another base than serves now is refused')] },
  { name: '43-horizon-goes-back', breaks: 'a publication lets H go back', caughtBy: [by(batches, 'a horizon never goes back')] },
  { name: '44-roll-back-without-pause', breaks: 'the next night undoes a roll-back', caughtBy: [by(interleavings, 'a roll-back after a corrected copy, then the next night')] },
  { name: '45-prune-takes-a-kept-epoch', breaks: 'pruning drops live rows that a kept batch needs', caughtBy: [by(batches, 'pruning leaves all that a roll-back to any kept batch needs')] },
  { name: '46-live-merge-drops-what-it-did-not-read', breaks: 'a merge inserts other rows than it deletes', caughtBy: [by(interruptions, 'live rows are merged without loss and without counting twice')] },
  { name: '47-page-merge-drops-what-it-did-not-read', breaks: 'a merge of pages inserts other ids than it deletes', caughtBy: [by(interruptions, 'ledger pages are merged without losing an id')] },
  { name: '48-log-append-in-two-transactions', breaks: 'records are committed before their offsets', caughtBy: [by(postgresLog, 'an append whose connection is killed before its commit leaves nothing')] },
  { name: '49-log-offsets-unlocked', breaks: 'two appends take the same offsets', caughtBy: [by(logContract, 'by several at once loses, doubles and reorders nothing')], noticedWith: 'error: duplicate key value' },
  { name: '50-rebuilt-topic-unnoticed', breaks: 'a topic that was made anew is read on', caughtBy: [by(rebuiltTopic, 'is found by the last record that was counted')] },
  { name: '51-hash-sums-unheld', breaks: 'counts that differ over the same positions hold nothing', caughtBy: [by(cuts, 'a hash sum that is wrong over the same positions holds the batch')] },
  { name: '52-lost-events-stay', breaks: 'what was counted of a lost range stays in the figures', caughtBy: [by(lossRows, 'what had been counted and not archived is taken out by the next batch, to the penny')], noticedWith: 'HeldError' },
  { name: '53-rebuilt-topic-keeps-its-offsets', breaks: 'a topic that was made anew is read on at the old offsets', caughtBy: [by(lossRows, 'nothing is added or taken until it is given up; then the new one is counted from its beginning, and copies in it are copies')] },
  { name: '54-restored-database-keeps-its-name', breaks: 'a database that was put back meets its own future outside', caughtBy: [by(lossRows, 'S9 an hour ago, while the log and the lake went on')] },
  { name: '55-refilled-with-a-hole', breaks: 'a range that the lake holds in part passes for whole', caughtBy: [by(lossRows, 'S14 the lake has only a part of it')], noticedWith: 'SuppressedError' },
  { name: '56-rebuilt-topic-archived', breaks: 'records of a topic that was made anew are archived for those that were counted', caughtBy: [by(rebuiltTopics, 'a batch archives no record of the new topic for one of the old')] },
  { name: '57-report-of-the-cuts-logic', breaks: 'a report takes the logic of the cut for that of its figures', caughtBy: [by(reportRules, 'a full run that takes other logic into use restates the reports at once')] },
  { name: '58-accepted-batch-ends-restatements', breaks: 'what a person accepted is never restated', caughtBy: [by(reportRules, 'a batch that a person accepted although nothing explained it restates the reports')], noticedWith: 'CorruptError' },
  { name: '60-search-passes-what-has-not-ended', breaks: 'the follower’s position passes a transaction that still runs', caughtBy: [by(searchLaws, 'a flush that commits after a later one is not passed over')] },
  { name: '61-search-version-by-the-clock', breaks: 'a document’s version is the time of sending', caughtBy: [by(searchLaws, 'a document never goes back: what an old reading sends after a newer one changes nothing')] },
  { name: '62-search-number-not-synced', breaks: 'documents are sent before what they say is durable', caughtBy: [by(searchRows, 'S10 PostgreSQL crashes and loses flushes that it had not synced')] },
  { name: '63-search-merge-hides-a-change', breaks: 'a merged row looks as old as its oldest', caughtBy: [by(searchLaws, 'nor one that is merged with older rows before the follower looks')] },
  { name: '64-search-forgets-what-is-pruned', breaks: 'pruning takes away changes that were not sent', caughtBy: [by(searchLaws, 'pruning what was not sent yet makes its months due')] },
  { name: '65-report-unchecked', breaks: 'a report is published that the archive does not bear out', caughtBy: [by(reports, 'where the batch and the archive differ in one penny no report is made')] },
  { name: '66-restatement-need-not-add-up', breaks: 'a penny that no event explains is restated', caughtBy: [by(reports, 'a difference that no event explains is not published as a restatement')] },
  { name: '67-restatement-tells-old-events-again', breaks: 'events of the published version explain the next one', caughtBy: [by(reports, 'D4 a late sale and a late refund for a closed month')], noticedWith: 'CorruptError' },
  { name: '68-report-of-a-roll-back', breaks: 'a roll-back restates reports to what they were before', caughtBy: [by(reports, 'behind a roll-back a report is refused with what to do')] },
  { name: '69-report-version-twice', breaks: 'the second of two that make a version passes for its maker', caughtBy: [by(reports, 'two that make the same report at once: one version stands')] },
  { name: '70-copies-sought-in-their-partition', breaks: 'an older copy is looked for in the partition of the newer', caughtBy: [by(incremental, 'a copy of every age and from every partition is found, in its file and in no other')] },
  { name: '71-range-of-a-lost-flush-registered', breaks: 'a range is registered for an epoch that does not hold it', caughtBy: [by(betweenCuts, 'the database loses flushes in a crash and a cut comes to lie within the range')] },
  { name: '72-swap-trusts-the-new-file', breaks: 'a file of other contents takes the place of registered ones', caughtBy: [by(compaction, 'is refused where the contents differ in any sum')] },
  { name: '73-swapped-file-leaves-at-once', breaks: 'a file that was swapped leaves its place while a batch may read it', caughtBy: [by(compaction, 'a batch that has listed the old files reads them to its end')], noticedWith: 'CorruptError' },
  { name: '74-swap-of-what-was-swapped', breaks: 'a file takes the place of another than it was made from', caughtBy: [by(compaction, 'is refused where the contents differ in any sum')] },
  { name: '75-flush-beside-a-switch', breaks: 'a flush commits between the last cut of other logic and its publication', caughtBy: [by(logicChange, 'L18 figures are those of the old zone until it publishes')] },
  { name: '76-new-logic-not-booked', breaks: 'what other logic changes is not booked as corrections', caughtBy: [by(logicChange, 'a full run with another currency')] },
  { name: '77-ledger-of-the-old-logic', breaks: 'the ledger keeps what other logic counts no more', caughtBy: [by(logicChange, 'a full run with another currency')] },
  { name: '78-new-logic-counts-not-booked', breaks: 'how many ids other logic counts is not booked', caughtBy: [by(logicChange, 'a full run with another currency')], noticedWith: 'HeldError' },
  { name: '79-refused-records-not-erased', breaks: 'a refused record keeps the person', caughtBy: [by(erasing, 'an erased person is in no file of the lake and in no table')] },
  { name: '80-import-file-of-another-epoch', breaks: 'a cut between the writing of a chunk’s file and its flush ends the import', caughtBy: [by(importLaws, 'a cut between a chunk’s file and its flush has the file written again, and the batch is exact')], noticedWith: 'ConflictError' },
  { name: '81-import-of-other-lines', breaks: 'an import goes on with other lines than were imported before', caughtBy: [by(importLaws, 'refuses files that are not what they were, and imports none of them')] },
  { name: '82-older-reference-stands', breaks: 'an older record of a product takes a newer one’s place', caughtBy: [by(references, 'the newest record of each product stands, in any order of readers, crashes and replays')] },
  { name: '83-letter-sent-twice', breaks: 'a letter is sent again each time that it is asked for', caughtBy: [by(deadLetters, 'the same content is sent once')] },
  { name: '84-imported-sales-not-searched', breaks: 'the log is asked for what was imported', caughtBy: [by(importRows, 'search finds what was imported: its documents come from the lake')] },
  { name: '85-partition-not-reached-passes', breaks: 'a partition that no batch has read holds up no report', caughtBy: [by(dueUnits, 'on every partition')] },
  { name: '86-period-closed-without-grace', breaks: 'a report takes the log’s end before the grace is over', caughtBy: [by(dueUnits, 'waits for the grace, and for the record')] },
  { name: '87-run-of-the-living-taken', breaks: 'a run is taken from a worker that lives', caughtBy: [by(runLedger, 'while the first still works, does each run once')] },
  { name: '88-overtaken-worker-writes', breaks: 'a worker that was overtaken writes into the ledger', caughtBy: [by(runLedger, 'that was overtaken writes nothing into the ledger any more')] },
  { name: '89-reports-before-the-books', breaks: 'one event of 1970 makes every report since due', caughtBy: [by(dueUnits, 'of before the books opened, or before the first figures')] },
  { name: '90-season-ends-on-28-february', breaks: '29 February lies in no season', caughtBy: [by(seasonTable, 'ends with the last of February, unless another season starts on the 29th')], noticedWith: 'InvalidRequestError' },
  { name: '91-backup-of-many-moments', breaks: 'a backup reads each table at a moment of its own', caughtBy: [by(storeBackup, 'a backup made while the shop counts is of one moment')], noticedWith: 'HeldError' },
  { name: '92-restored-store-keeps-its-name', breaks: 'a store put back meets what its old self named outside', caughtBy: [by(backupRows, 'the database is put back by an hour: counted again from the log, the figures are right without a hand')] },
  { name: '93-as-of-adds-what-came-later', breaks: 'figures as of a batch hold what came after its horizon', caughtBy: [by(asOf, 'as of every kept batch the figures are those below its horizon')] },
  { name: '94-as-of-forgets-roll-backs', breaks: 'as of a time, a batch serves that was rolled back by then', caughtBy: [by(asOf, 'as of every kept batch the figures are those below its horizon')] },
  { name: '95-report-file-unchecked', breaks: 'a file of a report is served with other bytes than were frozen', caughtBy: [by(history, 'bytes that are not those that were frozen are never served')] },
  { name: '96-pruned-batch-answered', breaks: 'a batch whose rows are gone answers that nothing was sold', caughtBy: [by(asOf, 'as of every kept batch the figures are those below its horizon')] },
  { name: '97-delivery-unclaimed', breaks: 'two workers send one report', caughtBy: [by(deliveries, 'each version goes once to each target, however many workers ask at once')] },
  { name: '98-webhook-follows-to-another-host', breaks: 'a redirect takes a report to another host', caughtBy: [by(deliveries, 'a webhook that sends the post elsewhere is followed on its own host only')] },
  { name: '99-backfill-mailed', breaks: 'a backfill is mailed', caughtBy: [by(deliveries, 'only news goes out by itself')] },
  { name: '100-old-ids-of-the-partition-alone', breaks: 'an older copy counts again where it lies in another partition', caughtBy: [by(incremental, 'a copy of every age and from every partition is found, in its file and in no other')] },
  { name: '102-folder-of-the-living-removed', breaks: 'a temporary folder is removed while its owner lives', caughtBy: [by(temporaryFolders, 'and keeps that of a living one')] },
  { name: '103-file-of-an-import-removed', breaks: 'an erasure removes a file that an import is about to register', caughtBy: [by(erasing, 'a file that an import is about to register is left to it')] },
  { name: '104-cause-of-no-total-unnamed', breaks: 'other logic is no cause where the total stays', caughtBy: [by(restatedUnits, 'other logic that moves figures between the days of a month is named'), by(restatedUnits, 'where other logic takes away what a late sale brings')] },
  { name: '105-stop-while-opening-unheard', breaks: 'a worker that is told to stop while it opens its partitions reads on for ever', caughtBy: [by(workerStop, 'a worker ends whenever it is told to while it opens its partitions')], noticedWith: 'Error' },
]
