/** The command line: wires commands, and nothing else. */
import { Command } from 'commander'
import { addBackfill } from './commands/backfill.ts'
import { addBackup } from './commands/backup.ts'
import { addBatch } from './commands/batch.ts'
import { addDeadLetters } from './commands/dead-letters.ts'
import { addDoctor } from './commands/doctor.ts'
import { addEngines } from './commands/engines.ts'
import { addErase } from './commands/erase.ts'
import { addGenerate } from './commands/generate.ts'
import { addImport } from './commands/import.ts'
import { addIngest } from './commands/ingest.ts'
import { addJobs } from './commands/jobs.ts'
import { addQuery } from './commands/query.ts'
import { addReport } from './commands/report.ts'
import { addReset } from './commands/reset.ts'
import { addRestore } from './commands/restore.ts'
import { addSchedule } from './commands/schedule.ts'
import { addSearch } from './commands/search.ts'
import { addSeasons } from './commands/seasons.ts'
import { addServe } from './commands/serve.ts'
import { addSpeed } from './commands/speed.ts'
import { addStatus } from './commands/status.ts'
import { addUp } from './commands/up.ts'
import { addVerify } from './commands/verify.ts'
import { exitCodes } from './command.ts'
import { outliveReaders } from './output.ts'
import { version } from './version.ts'

outliveReaders()

const program = new Command('tidemark')
  .description('An exact data lake for shop events: live and batch figures merged to the penny, each with its receipt.')
  .version(version)
  // A command may have a --version of its own: of a report, of the seasons.
  .enablePositionalOptions()
  .showHelpAfterError('(--help shows how)')
  .exitOverride((error) => {
    process.exit(error.exitCode === 0 ? 0 : exitCodes.usage)
  })
  .addHelpText(
    'after',
    `
Examples:
  ./tidemark up                                  a shop with history and live traffic, page and API
  ./tidemark ingest sales.csv                    put lines into the log, and see them counted
  ./tidemark query revenue --by city,category    what the merged views say
  ./tidemark batch run                           archive, recompute, cross-check and publish`,
  )

for (const add of [addUp, addStatus, addIngest, addImport, addGenerate, addQuery, addVerify, addBatch, addSchedule, addJobs, addReport, addBackfill, addDeadLetters, addSpeed, addSearch, addSeasons, addServe, addEngines, addErase, addDoctor, addBackup, addRestore, addReset]) add(program)
await program.parseAsync()
// An open channel to a supervising parent would keep a finished process alive.
if (process.connected) process.disconnect()
