export function startOf(pid: number): string | undefined
export function isRunning(pid: number, started: string): boolean
