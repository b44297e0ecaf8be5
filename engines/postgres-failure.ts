import { ConfigError, UnavailableError } from '#core/errors.ts'
import type { TidemarkError } from '#core/errors.ts'

const TAIL_LINES = 12

const IN_THE_WAY = /pre-existing shared memory block|lock file "postmaster.pid" (already exists|is empty)|bogus data in lock file/
const PORT_TAKEN = /Address already in use|could not create any TCP\/IP sockets/

type Cause = { readonly pattern: RegExp; readonly fix: string; readonly passing?: boolean }

/** What PostgreSQL prints (its messages are English, `lc_messages` is C) and what a person can do about it; first match wins. */
const CAUSES: readonly Cause[] = [
  { pattern: /No space left on device|Disk quota exceeded/, fix: 'The disk is full: free some space and start again. Nothing that was committed is lost.' },
  {
    pattern: /database files are incompatible|initialized by PostgreSQL version/,
    fix: 'The data was written by another version of PostgreSQL: use the version of Tidemark that wrote it, or another folder with --data.',
  },
  { pattern: IN_THE_WAY, fix: 'Processes of an earlier server have not ended yet: end them, or try again.', passing: true },
  { pattern: PORT_TAKEN, fix: 'Its port was taken by another program each time: try again.', passing: true },
  {
    pattern: /could not (create|map) (anonymous )?shared memory|could not create semaphores|Cannot allocate memory|out of memory/,
    fix: 'There is too little memory for the database: end other programs, or give the container more (shared_buffers is 128 MB).',
  },
  {
    pattern: /error while loading shared libraries|Library not loaded|image not found/,
    fix: 'A library of the PostgreSQL package is missing: run `npm ci` again, with install scripts allowed.',
  },
  { pattern: /Read-only file system/, fix: 'The data folder lies on a file system that is read-only: choose another with --data.' },
  { pattern: /setpriv: .*(Operation not permitted|Invalid argument)/, fix: 'This root may not change its user id (a restricted container): start Tidemark as a plain user.' },
  {
    pattern: /could not look up effective user ID|^unshare: /m,
    fix: 'PostgreSQL can be set up only by a user whom the system knows by name: add one for this number (`useradd -u …`), or start Tidemark as root.',
  },
  { pattern: /has (wrong ownership|invalid permissions)/, fix: 'The folder of the database must belong to the user who runs it, with mode 0700: put back owner and mode.' },
  { pattern: /Permission denied|Operation not permitted/, fix: 'Permissions are in the way: the data folder must belong to the user who runs Tidemark, and its file system must keep owners and modes.' },
  { pattern: /invalid locale|locale .*not|setlocale/, fix: 'The system refuses the locale "C": install its basic locales, or run without LC_ALL and LANG set.' },
  { pattern: /unrecognized configuration parameter|invalid value for parameter/, fix: 'A setting handed to PostgreSQL is wrong: correct it.' },
  {
    pattern: /could not locate a valid checkpoint record|PANIC: /,
    fix: 'The files of the database are damaged: put back a backup of the data folder, or begin anew with `./tidemark reset --yes`.',
  },
]

/** Turns what PostgreSQL printed into an error with the fix: ConfigError where a person must act, UnavailableError where time may help. */
export function explainFailure(what: string, printed: string, details: Readonly<Record<string, unknown>>): TidemarkError {
  const tail = printed.trim().split('\n').slice(-TAIL_LINES).join('\n')
  const cause = CAUSES.find(({ pattern }) => pattern.test(printed))
  const message = `${what}. ${cause?.fix ?? ''}\n${tail === '' ? 'It printed nothing.' : `Its last words:\n${tail}`}`
  return cause === undefined || cause.passing === true ? new UnavailableError(message, details) : new ConfigError(message, details)
}

/** Whether a failed start may be tried again at once: its port was taken meanwhile, or another server of the cluster is ending or starting. */
export function isPassing(printed: string): 'port' | 'in-the-way' | undefined {
  if (IN_THE_WAY.test(printed)) return 'in-the-way'
  return PORT_TAKEN.test(printed) ? 'port' : undefined
}
