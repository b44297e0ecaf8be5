import { ConfigError } from '#core/errors.ts'
import type { Lake, QueryEngine } from '#core/ports.ts'

export async function openTrino(_options: { readonly url: string; readonly lake: Lake }): Promise<QueryEngine> {
  throw new ConfigError('This adapter is being built.')
}
