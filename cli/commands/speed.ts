import type { Command } from 'commander'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withLayerOptions } from '../command.ts'
import { openLogger } from '../logger.ts'
import { runSpeedLayer } from '../speed-layer.ts'

export function addSpeed(program: Command): void {
  withLayerOptions(program.command('speed'))
    .description('run the speed layer: log → live figures, until stopped; several may run and share the partitions')
    .addHelpText('after', '\nExample:\n  ./tidemark speed          (LOG_LEVEL=debug tells of every flush)')
    .action(async (options: CommonOptions) => {
      await onEnvironment(options, 'speed', async (environment, { signal }) => {
        const running = runSpeedLayer(environment, openLogger('speed', environment.settings.logLevel), signal)
        process.send?.({ ready: true })
        await running
      })
      // Stopping is what a layer is told to do, not a failure.
      if (process.exitCode === 130) process.exitCode = 0
    })
}
