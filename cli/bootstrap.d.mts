export function routeOf(args: readonly string[]): { readonly program: string; readonly args: readonly string[] }
export function needsDashboard(args: readonly string[]): boolean
export function complaintAbout(version: string): string | undefined
