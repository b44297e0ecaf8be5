/** What the tests of a lake's faults do again and again, on whichever lake. */
import { expect } from 'vitest'
import { sweepOrphans } from '#batch/orphans.ts'
import type { Lake } from '#core/ports.ts'
import type { ArchiveFile } from '#store/register.ts'
import { listFiles } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

/** Counts every record of the log, step by step. */
export async function countAll(lab: Lab): Promise<void> {
  const worker = await StepWorker.open(lab, Array.from({ length: lab.partitions }, (_, partition) => partition))
  await worker.readAll()
  await worker.flush()
}

export async function registeredFiles(lab: Lab): Promise<ArchiveFile[]> {
  return listFiles(lab.database.pool, 0, Number.MAX_SAFE_INTEGER)
}

/** Paths below the topic's folder of the lake, whatever they are. */
export async function pathsOfTopic(lab: Lab, lake: Lake): Promise<string[]> {
  const paths: string[] = []
  for await (const entry of lake.list(`${lab.topic}/`)) paths.push(entry.path)
  return paths.sort()
}

/** Resolves to the orphans that it moved aside, however young. */
export async function sweepTopic(lab: Lab, lake: Lake): Promise<string[]> {
  const { moved } = await sweepOrphans({ database: lab.database, lake, topics: [lab.topic], nowMs: Date.now() + 60_000, orphanAfterMs: 0, deleteAfterMs: 86_400_000 })
  return moved.sort()
}

/** The lake holds the registered files of this topic and no other. */
export async function expectOnlyRegistered(lab: Lab, lake: Lake): Promise<void> {
  const paths = (await registeredFiles(lab)).filter((file) => file.rows > 0).map((file) => file.path)
  expect(await pathsOfTopic(lab, lake)).toEqual(paths.sort())
}
