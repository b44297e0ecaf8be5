// Opens the database of the folder given, says so in one line, and keeps it until a line comes in.
import { once } from 'node:events'
import { openEmbeddedPostgres } from '#engines/embedded-postgres.ts'

const postgres = await openEmbeddedPostgres({ dataDirectory: process.argv[2] ?? '' })
const { url, pid, port, owner } = postgres
process.stdout.write(`${JSON.stringify({ url, pid, port, owner })}\n`)
process.stdin.resume()
await once(process.stdin, 'data')
await postgres[Symbol.asyncDispose]()
process.exit(0)
