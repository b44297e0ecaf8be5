export type FileLock = {
  /** The lock stays held while process `pid` runs, also when this process is killed. */
  readonly addHolder: (pid: number) => void
  readonly release: () => void
}

export class LockTimeoutError extends Error {
  readonly holder: number
}

export function acquireFileLock(
  directory: string,
  options: { readonly waitMs: number; readonly onWait?: ((holderPid: number) => void) | undefined },
): Promise<FileLock>
