/**
 * A sign in a folder that its owner lives, which the kernel takes away with him however he ends: a socket that he listens on. Unlike a process id it means the
 * same in every container of a machine, and after the machine was started again. It says nothing on a file system that other machines may share, and is given
 * on Linux alone.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { lstat, open, rename, statfs } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { hasErrorCode } from './disk-errors.ts'

export const signName = 'owner.socket'

/** Mounted by one kernel at a time: ext4, XFS, Btrfs, tmpfs, overlay, F2FS, ZFS (statfs(2)). */
const localFileSystems: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0xf2f52010, 0x2fc12fc1])

/** Resolves to what takes the sign away again; null where none can be given. */
export async function giveSign(folder: string): Promise<Server | null> {
  // Its owner alone knows that the disk is another machine's: there it looks like one of its own.
  if (process.platform !== 'linux' || !localFileSystems.has((await statfs(folder)).type)) return null
  const server = createServer((asking) => asking.destroy()).unref()
  server.on('error', () => undefined)
  // No other has this name: at its end the server removes the address that it was given, and the number in it may be another folder's by then.
  const draft = `${signName}.${randomUUID()}`
  try {
    // Opened, since a socket's address has room for 107 bytes only.
    await using opened = await open(folder)
    const listening = once(server, 'listening')
    server.listen({ path: `/proc/self/fd/${opened.fd}/${draft}`, exclusive: true })
    await listening
    // Between its binding and its listening it would be refused, as that of a dead one is.
    await rename(join(folder, draft), join(folder, signName))
    return server
  } catch {
    server.close()
    return null
  }
}

/** False also where it cannot be told. A stopped or busy owner lives: the kernel takes the connection for him. */
export async function isOwnerDead(folder: string): Promise<boolean> {
  if (process.platform !== 'linux' || !localFileSystems.has((await statfs(folder)).type)) return false
  if (!(await lstat(join(folder, signName))).isSocket()) return false
  await using opened = await open(folder)
  const asking = connect({ path: `/proc/self/fd/${opened.fd}/${signName}` })
  try {
    await once(asking, 'connect')
    return false
  } catch (error) {
    return hasErrorCode(error, 'ECONNREFUSED')
  } finally {
    asking.destroy()
  }
}
