/** A copy of the repository's working files, in which a mutant does no harm. Packages are shared with the original. */
import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { applyHunks, parsePatch } from './patch.ts'

const listMsMax = 60_000

export type Copy = AsyncDisposable & {
  readonly root: string
  /** Applies a patch; disposing of the result puts the files back. Throws where the patch does not apply, and then changes nothing. */
  mutate(patch: string): Promise<AsyncDisposable>
}

export async function openCopy(repository: string): Promise<Copy> {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-mutants-'))
  try {
    for (const file of workingFiles(repository)) {
      await cp(join(repository, file), join(root, file)).catch((thrown: unknown) => {
        // Listed, and removed from the working folder since its last commit.
        if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
      })
    }
    // `junction` is what Windows lets everyone make; elsewhere it means nothing.
    await symlink(join(repository, 'node_modules'), join(root, 'node_modules'), 'junction')
  } catch (thrown) {
    await rm(root, { recursive: true, force: true })
    throw thrown
  }
  return {
    root,
    mutate: async (patch) => mutate(root, patch),
    [Symbol.asyncDispose]: async () => rm(root, { recursive: true, force: true }),
  }
}

/** Every file that is committed, or new and not ignored. */
function workingFiles(repository: string): string[] {
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: repository, timeout: listMsMax, maxBuffer: 2 ** 26 })
  return [...new Set(list.toString().split('\0').filter(Boolean))]
}

async function mutate(root: string, patch: string): Promise<AsyncDisposable> {
  const files = await Promise.all(
    parsePatch(patch).map(async (file) => {
      const path = join(root, file.path)
      const original = await readFile(path, 'utf8')
      return { path, original, mutated: applyHunks(file, original) }
    }),
  )
  const undo = async (): Promise<void> => {
    for (const { path, original } of files) await writeFile(path, original)
  }
  for (const { path, mutated } of files) await writeFile(path, mutated)
  return { [Symbol.asyncDispose]: undo }
}
