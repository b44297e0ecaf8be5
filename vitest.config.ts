import { defineConfig } from 'vitest/config'

// A fault test killed, stopped or starved something on purpose: it gets longer, and all of it under `npm run test:faults`.
const wholeFaults = process.env['WHOLE_FAULTS'] === '1'

type Project = {
  readonly include: readonly string[]
  readonly testTimeoutMs: number
  /** Groups run one after the other: what measures time or opens browsers has the machine to itself. */
  readonly group: number
  readonly workersMax: number
}

const PROJECTS: Readonly<Record<string, Project>> = {
  unit: { include: ['test/unit/**/*.test.ts', 'test/*.test.ts'], testTimeoutMs: 30_000, group: 0, workersMax: 2 },
  contract: { include: ['test/contract/**/*.test.ts'], testTimeoutMs: 180_000, group: 0, workersMax: 2 },
  integration: { include: ['test/integration/**/*.test.ts'], testTimeoutMs: 180_000, group: 0, workersMax: 2 },
  faults: { include: ['test/faults/**/*.test.ts'], testTimeoutMs: wholeFaults ? 3_600_000 : 600_000, group: 1, workersMax: 2 },
  e2e: { include: ['test/e2e/**/*.test.ts'], testTimeoutMs: 300_000, group: 2, workersMax: 1 },
}

export default defineConfig({
  test: {
    projects: Object.entries(PROJECTS).map(([name, { include, testTimeoutMs, group, workersMax }]) => ({
      test: {
        name,
        include: [...include],
        // Processes, not threads: tests send signals, change folders and load native modules.
        pool: 'forks' as const,
        maxWorkers: workersMax,
        fileParallelism: workersMax > 1,
        sequence: { groupOrder: group },
        testTimeout: testTimeoutMs,
        hookTimeout: 120_000,
        teardownTimeout: 30_000,
      },
    })),
  },
})
