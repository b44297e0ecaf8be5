import type { EventLog } from '#core/ports.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'

import { freshSchema, openTestPostgres } from '../postgres.ts'
import { testEventLog } from './event-log-contract.ts'

testEventLog('PostgreSQL', async () => {
  const postgres = await openTestPostgres()
  const schema = await freshSchema(postgres.url, 'log')
  const open = (): Promise<EventLog> => openPostgresLog({ connectionString: postgres.url, schema })
  const pruner = await open()
  return {
    open,
    forget: (topic, below) => pruner.prune(topic, below, Date.now() + 3_600_000),
    assignmentMs: 10_000,
    [Symbol.asyncDispose]: async () => {
      await pruner[Symbol.asyncDispose]()
      await postgres[Symbol.asyncDispose]()
    },
  }
})
