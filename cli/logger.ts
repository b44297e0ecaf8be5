/** Structured logs: one line an event, never payloads, no secrets. */
import { pino } from 'pino'
import type { Logger } from 'pino'

export type { Logger }

export function openLogger(layer: string, level: string): Logger {
  return pino({
    level,
    base: { layer, pid: process.pid },
    redact: { paths: ['*.authorization', '*.password', '*.url', '*.connectionString', 'req.headers.authorization', 'req.headers.cookie'], censor: '[hidden]' },
  })
}
