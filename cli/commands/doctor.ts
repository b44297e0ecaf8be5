import type { Command } from 'commander'
import type { CommonOptions } from '../command.ts'
import { exitCodes, guarded, settingsOf, withCommonOptions } from '../command.ts'
import { lookAtAll } from '../doctor/doctor.ts'
import { worst } from '../doctor/finding.ts'
import { reportLines } from '../doctor/report.ts'
import { print, printJson } from '../output.ts'
import { version } from '../version.ts'

/** A driver that still waits for an engine must not hold up a finished process. */
const leaveWithinMs = 2_000

export function addDoctor(program: Command): void {
  withCommonOptions(program.command('doctor'))
    .description('look at everything that is needed, and say for each what is wrong and how to mend it')
    .addHelpText('after', '\nIt starts and changes nothing; a file is put into the lake and removed again. Exits with 1 where anything fails.\n\nExamples:\n  ./tidemark doctor\n  ./tidemark doctor --json')
    .action(async (options: CommonOptions) => {
      await guarded(async () => {
        const settings = settingsOf(options)
        if (options.quiet !== true && process.stderr.isTTY) process.stderr.write('looking at everything; this takes some seconds …\n')
        const findings = await lookAtAll(settings)
        const level = worst(findings)
        if (options.json === true) printJson({ version, dataDirectory: settings.dataDirectory, level, findings })
        else for (const line of reportLines(findings)) print(line)
        if (level === 'fail') process.exitCode = exitCodes.failed
      })
      setTimeout(() => process.exit(), leaveWithinMs).unref()
    })
}
