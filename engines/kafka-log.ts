import { ConfigError } from '#core/errors.ts'
import type { EventLog } from '#core/ports.ts'

export async function openKafkaLog(_options: { readonly url: string; readonly groupPrefix: string }): Promise<EventLog> {
  throw new ConfigError('This adapter is being built.')
}
