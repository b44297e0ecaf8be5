/**
 * Folders for what a process needs while it runs: each is removed by its owner at the end and, where the owner was killed, by whoever opens the next one of
 * that kind in the same place.
 *
 * Nobody may lose a folder while he lives, so the owner stands in the folder's name: process id, start of the process, place, and a random part. A name comes
 * into being with its folder, so no folder is ever seen without its owner, and none recurs: who removes one that another has removed already removes nothing.
 * The place is the boot and the namespaces in which process ids and starts mean what they say. Of a process of another container or boot its sign of life
 * tells whether it still runs; where that tells nothing, as on a disk that machines share, the folder is left to the processes of its place.
 */
import { createHash, randomUUID } from 'node:crypto'
import { lstat, mkdir, readFile, readdir, readlink, rm } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { isRunning, startOf } from './process-identity.mjs'
import { giveSign, isOwnerDead } from './sign-of-life.ts'

export type TemporaryFolder = AsyncDisposable & { readonly path: string }

export type TemporaryFolderOptions = {
  /** Made where it is missing. Default: the system's. */
  readonly parent?: string
  /** What has to be done before an abandoned folder may be removed, which can be done in its own place only; where it throws, the folder stays. */
  readonly beforeRemoval?: (path: string) => Promise<unknown>
}

const unknownPlace = 'unknown'

/** Makes the folder `tidemark-<kind>-…`, for this user alone, having removed those of the kind whose owners are dead. Rejects with the disk's own errors. */
export async function openTemporaryFolder(kind: string, { parent = tmpdir(), beforeRemoval }: TemporaryFolderOptions = {}): Promise<TemporaryFolder> {
  const prefix = `tidemark-${kind}-`
  const place = await readPlace()
  await mkdir(parent, { recursive: true })
  await removeAbandoned(parent, prefix, place, beforeRemoval)
  const path = join(parent, `${prefix}${process.pid}.${startOf(process.pid) ?? 'unknown'}.${place}.${randomUUID().slice(0, 13)}`)
  await mkdir(path, { mode: 0o700 })
  const sign = await giveSign(path)
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      sign?.close()
      await rm(path, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** What stands in the way of tidying up is no reason to fail: the folder stays for the next time. */
async function removeAbandoned(parent: string, prefix: string, place: string, beforeRemoval?: (path: string) => Promise<unknown>): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    if (!name.startsWith(prefix)) continue
    const path = join(parent, name)
    try {
      if (!(await isOurs(path)) || !(await isAbandoned(path, name.slice(prefix.length), place, beforeRemoval === undefined))) continue
      await beforeRemoval?.(path)
      await rm(path, { recursive: true, force: true })
    } catch {
      continue
    }
  }
}

async function isAbandoned(path: string, owner: string, ourPlace: string, mayBeElsewhere: boolean): Promise<boolean> {
  const { 1: pid, 2: started, 3: place } = /^(\d+)\.([\w-]+)\.(\w+)\.[\w-]+$/.exec(owner) ?? []
  if (pid === undefined || started === undefined) return false
  if (place === ourPlace && place !== unknownPlace) return !isRunning(Number(pid), started)
  return mayBeElsewhere && isOwnerDead(path)
}

/** In a folder for everyone, a folder of that name may be anyone's, and what is removed in it might be exchanged meanwhile. */
async function isOurs(path: string): Promise<boolean> {
  const stats = await lstat(path)
  return stats.isDirectory() && (process.getuid === undefined || stats.uid === process.getuid())
}

/** Alike for two processes only if each can tell whether the other runs. */
async function readPlace(): Promise<string> {
  if (process.platform !== 'linux') return digestOf(hostname())
  try {
    // Where /proc is that of an outer namespace, its numbers are other processes'.
    if ((await readlink('/proc/self')) !== String(process.pid)) return unknownPlace
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'latin1')
    // Starts are counted in the time of the reader's own namespace; kernels before 5.6 have one time for all.
    return digestOf(`${boot} ${await readlink('/proc/self/ns/pid')} ${await readlink('/proc/self/ns/time').catch(() => '')}`)
  } catch {
    return unknownPlace
  }
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}
