// Who uses the embedded server: one empty file per opening, named by process id, start of the process and a random part. A
// process that was killed leaves its file behind, but no longer counts, as no process of that id and start runs. All functions
// are called under the server's lock.
import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isRunning, startOf } from './process-identity.mjs'

/** Notes this process as a user in `directory`; returns the name of the note, for `removeUser`. */
export function addUser(directory: string): string {
  mkdirSync(directory, { recursive: true })
  const user = `${process.pid}.${startOf(process.pid) ?? 'unknown'}.${randomUUID().slice(0, 8)}`
  writeFileSync(join(directory, user), '')
  return user
}

export function removeUser(directory: string, user: string): void {
  rmSync(join(directory, user), { force: true })
}

/** The process ids of those who still run, one per opening; clears away the notes of those who do not. */
export function listUsers(directory: string): readonly number[] {
  mkdirSync(directory, { recursive: true })
  return readdirSync(directory).flatMap((user) => {
    const [pid = '', started = ''] = user.split('.')
    if (isRunning(Number(pid), started)) return [Number(pid)]
    removeUser(directory, user)
    return []
  })
}
