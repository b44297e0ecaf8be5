// Opens DuckDB with its temporary folder in the folder named, spills into it where that is asked for, says so, and waits to be killed.
import { join } from 'node:path'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'

const [folder = '', isSpilling] = process.argv.slice(2)
const lake = await openDiskLake({ root: join(folder, 'lake') })
const engine = await openDuckDb({ lake, tempDirectory: join(folder, 'temp'), memoryLimitMb: 64 })
const rows = engine.query('SELECT CAST(hash(range) AS varchar) AS text FROM range(1500000) ORDER BY text DESC')[Symbol.asyncIterator]()
if (isSpilling === 'spilling') await rows.next()
process.stdout.write('ready\n')
// Held, or the collector of garbage closes the result, and its spilled files with it.
setInterval(() => [engine, rows], 1_000)
