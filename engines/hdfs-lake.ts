import { ConfigError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'

export async function openHdfsLake(_options: { readonly url: string; readonly location: string }): Promise<Lake> {
  throw new ConfigError('This adapter is being built.')
}
