/** A process that holds what it is assigned of a topic, and prints each list as a line of JSON. Arguments: url, schema, topic. */
import { openPostgresLog } from '#engines/postgres-log.ts'

const [connectionString, schema, topic] = process.argv.slice(2) as [string, string, string]
await using log = await openPostgresLog({ connectionString, schema })
for await (const list of log.assigned(topic, new AbortController().signal)) process.stdout.write(`${JSON.stringify(list)}\n`)
