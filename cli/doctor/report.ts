/** Findings as people read them: a line each, the fix below it. */
import type { Finding, Level } from './finding.ts'
import { plural } from './units.ts'

const marks: Readonly<Record<Level, string>> = { ok: 'OK', warn: 'WARN', fail: 'FAIL' }
const markWidth = 4

export function reportLines(findings: readonly Finding[]): readonly string[] {
  const areaWidth = Math.max(0, ...findings.map(({ area }) => area.length))
  const checkWidth = Math.max(0, ...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ area, check, level, says, fix }) => {
    const line = `${marks[level].padEnd(markWidth)}  ${area.padEnd(areaWidth)}  ${check.padEnd(checkWidth)}  ${says}`
    return fix === undefined ? [line] : [line, `${' '.repeat(markWidth + areaWidth + 4)}→ ${fix}`]
  })
  return [...lines, '', summary(findings)]
}

function summary(findings: readonly Finding[]): string {
  const of = (level: Level): number => findings.filter((finding) => finding.level === level).length
  const [warnings, failures] = [of('warn'), of('fail')]
  if (failures > 0) return `${plural(failures, 'failure')}, ${plural(warnings, 'warning')}: mend the failures from the top.`
  return warnings > 0 ? `Nothing stands in the way; ${plural(warnings, 'warning')}.` : 'All is well.'
}
