export function prepare(root: string, withDashboard: boolean): Promise<string>
export function nodePath(root: string): string
export function isInstalled(root: string): boolean
export function fingerprintOfDashboard(root: string): string
