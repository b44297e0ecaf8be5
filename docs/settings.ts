/** Puts the table of settings into the README, between its two marks: node_modules/.bin/node docs/settings.ts */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { settingsTable } from '#cli/settings.ts'

const readme = fileURLToPath(new URL('../README.md', import.meta.url))
const marks = /(<!-- settings: [^>]* -->\n)[\s\S]*?(<!-- end of settings -->)/

/** The README's text with the table as the code has it now. Throws where the marks are gone. */
export function withSettings(text: string): string {
  if (!marks.test(text)) throw new Error('README.md has lost the marks between which the table of settings stands.')
  return text.replace(marks, (_all, first: string, last: string) => `${first}\n${settingsTable()}\n\n${last}`)
}

if (import.meta.main) writeFileSync(readme, withSettings(readFileSync(readme, 'utf8')))
