import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { ConfigError, InvalidRequestError } from '#core/errors.ts'
import type { Letter } from '#store/dead-letters.ts'
import { countLetters, letterName, lettersPerPageMax, listLetters, parseLetter, readLetter } from '#store/dead-letters.ts'
import { resubmitLetter } from '#store/resubmit.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { count, print, printJson, printTable } from '../output.ts'

const pageDefault = 50

export function addDeadLetters(program: Command): void {
  const letters = program
    .command('dead-letters')
    .description('what could not be accepted: its reason, place and bytes, and sending it again')
    .addHelpText('after', '\nExamples:\n  ./tidemark dead-letters list --reason total-mismatch\n  ./tidemark dead-letters show 17\n  ./tidemark dead-letters resubmit 17 --file mended.json')
  addList(letters)
  addShow(letters)
  addResubmit(letters)
}

type ListOptions = CommonOptions & { readonly reason?: string; readonly topic?: string; readonly after?: string; readonly limit: string }

function addList(letters: Command): void {
  withCommonOptions(letters.command('list'))
    .description('the dead letters, newest first, and how many there are by reason')
    .option('--reason <reason>', 'only these')
    .option('--topic <topic>', 'only of this topic')
    .option('--after <id>', 'the next page: the last number of the page before')
    .option('--limit <n>', 'letters on a page', String(pageDefault))
    .addHelpText('after', '\nExample:\n  ./tidemark dead-letters list --topic transactions --limit 20 --json')
    .action(async (options: ListOptions) => {
      await onEnvironment(options, 'dead-letters list', async ({ database }) => {
        const limit = wholeOf(options.limit, '--limit', lettersPerPageMax)
        const filter = { ...(options.reason !== undefined && { reason: options.reason }), ...(options.topic !== undefined && { topic: options.topic }) }
        const after = options.after === undefined ? {} : { after: wholeOf(options.after, '--after', Number.MAX_SAFE_INTEGER) }
        const [counts, page] = await Promise.all([countLetters(database.pool, options.topic), listLetters(database.pool, { ...filter, ...after, limit })])
        const next = page.length === limit ? page.at(-1)!.id : null
        if (options.json === true) return printJson({ counts, letters: page, next })
        if (counts.length === 0) return print('There is no dead letter.')
        print(counts.map(({ topic, reason, letters: n }) => `${topic} ${reason} ${count(n)}`).join(' · '))
        print('')
        printTable(['id', 'position', 'logged', 'reason', 'detail', 'resubmitted'], page.map(rowOf), 99)
        if (next !== null) print(`\nMore: --after ${next}`)
      })
    })
}

function rowOf(letter: Letter): string[] {
  return [String(letter.id), placeOf(letter), letter.logTime.slice(0, 19).replace('T', ' '), letter.reason, shortened(letter.detail), resubmissionOf(letter)]
}

function placeOf(letter: Letter): string {
  const { imported } = letter
  return imported === null ? letterName(letter) : `${imported.importName}: ${imported.file}, line ${imported.line}`
}

function resubmissionOf({ resubmitted }: Letter): string {
  if (resubmitted === null) return ''
  return resubmitted.appendedAt === null ? 'begun' : resubmitted.appendedAt.slice(0, 19).replace('T', ' ')
}

function shortened(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`
}

function addShow(letters: Command): void {
  withCommonOptions(letters.command('show <letter>'))
    .description('one letter by its number or position: reason, places, headers, and its bytes as text')
    .addHelpText('after', '\nBytes that are not valid UTF-8 show as \\xff, what a terminal would obey as \\u001b, a backslash as two.\n\nExamples:\n  ./tidemark dead-letters show 17\n  ./tidemark dead-letters show transactions/0/123/0 --json')
    .action(async (text: string, options: CommonOptions) => {
      await onEnvironment(options, 'dead-letters show', async ({ database }) => {
        const { value, ...letter } = await readLetter(database.pool, parseLetter(text))
        if (options.json === true) return printJson({ ...letter, base64: value.toString('base64') })
        print(`letter       ${letter.id}, ${letterName(letter)}`)
        if (letter.imported !== null) print(`import       ${placeOf(letter)}`)
        print(`reason       ${letter.reason}: ${letter.detail}`)
        if (letter.first !== null) print(`counts       the copy at partition ${letter.first.partition}, offset ${letter.first.offset}`)
        print(`logged       ${letter.logTime}, epoch ${letter.epoch}; found by the ${letter.foundBy} layer`)
        for (const [name, header] of Object.entries(letter.headers ?? {})) print(`header       ${name}: ${header}`)
        if (letter.resubmitted !== null) print(`resubmitted  ${letter.resubmitted.appendedAt ?? 'begun, and not known to be in the log: resubmit it again, a second copy counts once'}`)
        print(`bytes        ${count(letter.bytes)}`)
        print(`\n${letter.text}`)
      })
    })
}

type ResubmitCommandOptions = CommonOptions & { readonly file?: string; readonly value?: string }

function addResubmit(letters: Command): void {
  withCommonOptions(letters.command('resubmit <letter>'))
    .description('append a letter to the log again, as it is or mended; the new record names the old letter')
    .option('--file <file>', 'its bytes from now on')
    .option('--value <text>', 'the same, as text')
    .addHelpText(
      'after',
      '\nThe letter stays where it is and is marked. The same content is sent once; interrupted, run it again: if the log takes a second copy, it counts once, for its events\nbring their ids.\n\nExamples:\n  ./tidemark dead-letters resubmit 17 --file mended.json\n  ./tidemark dead-letters resubmit transactions/0/123/0',
    )
    .action(async (text: string, options: ResubmitCommandOptions) => {
      await onEnvironment(options, 'dead-letters resubmit', async (environment) => {
        const value = await valueOf(options)
        const { letter, isNew, appendedAt } = await resubmitLetter(
          { database: environment.database, log: await environment.log(), decoder: environment.decoder, nowMs: Date.now(), ...(value !== null && { value }) },
          parseLetter(text),
        )
        if (options.json === true) return printJson({ id: letter.id, position: letterName(letter), isNew, appendedAt })
        print(isNew ? `Letter ${letter.id} is in the log again.` : `Letter ${letter.id} was sent with this content at ${appendedAt}: nothing was done.`)
      })
    })
}

async function valueOf({ file, value }: ResubmitCommandOptions): Promise<Uint8Array | null> {
  if (file !== undefined && value !== undefined) throw new InvalidRequestError('Give --file or --value, not both.')
  if (value !== undefined) return Buffer.from(value)
  if (file === undefined) return null
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new ConfigError(`${file} cannot be read: name the file with the mended record.`, { file }, cause)
  })
  // An editor's last line end is none of the record's.
  return bytes.at(-1) === 10 ? bytes.subarray(0, bytes.at(-2) === 13 ? -2 : -1) : bytes
}

function wholeOf(text: string, name: string, max: number): number {
  const whole = Number(text)
  if (!/^\d{1,16}$/.test(text) || whole < 1 || whole > max) throw new InvalidRequestError(`${name} ${text}: a whole number from 1 to ${max} is expected.`)
  return whole
}
