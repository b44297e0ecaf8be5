// Takes the lock again and again, each time adding one to a counter by reading and writing it, until it is killed or has done its share.
// A marker shows a second holder: it may be there only if whoever wrote it has died.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acquireFileLock } from '#engines/file-lock.mjs'
import { startOf } from '#engines/process-identity.mjs'

const folder = process.argv[2] ?? ''
const turns = Number(process.argv[3])
const isFragile = process.argv[4] === 'fragile'
const marker = join(folder, 'marker')
const counter = join(folder, 'counter')

for (let turn = 0; turn < turns; turn += 1) {
  const lock = await acquireFileLock(join(folder, 'lock'), { waitMs: 60_000 })
  const other = readMarker()
  if (other !== undefined && startOf(other) !== undefined) {
    process.stderr.write(`process ${other} holds the lock too\n`)
    process.exit(1)
  }
  writeFileSync(marker, String(process.pid))
  const count = Number(readFileSync(counter, 'utf8'))
  await new Promise((resolve) => setImmediate(resolve))
  if (isFragile && turn === turns - 1) process.kill(process.pid, 'SIGKILL')
  writeFileSync(counter, String(count + 1))
  rmSync(marker)
  lock.release()
}

function readMarker(): number | undefined {
  try {
    return Number(readFileSync(marker, 'utf8'))
  } catch {
    return undefined
  }
}
