/** Puts one file into a lake and ends without any clean-up at the point named: arguments root, point, path. Run by disk-lake.test.ts. */
import { openDiskLake } from '#engines/disk-lake.ts'

const [root, crashPoint, path] = process.argv.slice(2)
if (root === undefined || crashPoint === undefined || path === undefined) throw new Error('arguments: root, point, path')

const lake = await openDiskLake({
  root,
  faults: (point) => {
    if (point === crashPoint) process.kill(process.pid, 'SIGKILL')
  },
})
const body = (async function* () {
  yield Buffer.from('the whole ')
  yield Buffer.from('file')
})()
await lake.put(path, body, async () => {})
