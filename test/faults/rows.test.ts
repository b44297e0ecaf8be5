/** Every row of the fault catalogue that is promised has a test whose name begins with the row's id. */
import { readFileSync, readdirSync } from 'node:fs'
import { expect, test } from 'vitest'

const speedRows = ['S1', 'S2', 'S4', 'S5', 'S6', 'S8', 'S19', 'S20', 'S21', 'S22', 'S23', 'S24']
const logRows = ['S9', 'S13', 'S14', 'S15', 'S16', 'S17', 'S18']
const outageRows = ['S7', 'S25']
const dataRows = ['D1', 'D2', 'D3', 'D4', 'D5', 'D6', 'D7', 'D8', 'D9', 'D10', 'D11']
const lakeRows = ['L1', 'L2', 'L3', 'L4', 'L5', 'L6', 'L7', 'L8', 'L9', 'L10', 'L13', 'L14', 'L15', 'L16', 'L17', 'L18', 'L19', 'L20']
const servingRows = ['V2', 'V3']
const searchRows = ['S3', 'S10', 'S11', 'S12', 'V1']
const rows = [...speedRows, ...logRows, ...outageRows, ...dataRows, ...lakeRows, ...servingRows, ...searchRows]

/** Names of the tests written in the files here, as their source gives them. */
function testNames(): string[] {
  const folder = new URL('./', import.meta.url)
  return readdirSync(folder)
    .filter((name) => name.endsWith('-rows.test.ts'))
    .flatMap((name) => {
      const source = readFileSync(new URL(name, folder), 'utf8')
      // A test, or the name that test.each ends with; one that is skipped, or only meant to be written, does not count.
      return [...source.matchAll(/(?:^\s*test\(|^\s*\]\)\(|^\s*test\.each\b.*?\]? *\)?\()\s*['"`]([A-Z]\d+ [^'"`]+)/gm)].map((match) => match[1]!)
    })
}

test.each(rows)('row %s has a test of its name', (row) => {
  const named = testNames().filter((name) => name.startsWith(`${row} `))
  expect(named, `no test here begins with "${row} "`).not.toEqual([])
})

test('no row test is skipped or left for later', () => {
  for (const name of readdirSync(new URL('./', import.meta.url)).filter((file) => file.endsWith('-rows.test.ts'))) {
    const source = readFileSync(new URL(`./${name}`, import.meta.url), 'utf8')
    expect(source.match(/\b(?:test|describe)\.(?:skip|todo|only|skipIf|runIf)\b/g), name).toBeNull()
  }
})
