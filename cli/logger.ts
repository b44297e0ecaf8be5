/** Structured logs: one line an event, never payloads, no secrets. */
import { pino } from 'pino'
import type { Logger } from 'pino'

export type { Logger }

/** Level from LOG_LEVEL, `info` by default; `debug` tells of every flush. */
export function openLogger(layer: string): Logger {
  return pino({
    level: process.env['LOG_LEVEL'] ?? 'info',
    base: { layer, pid: process.pid },
    redact: { paths: ['*.authorization', '*.password', '*.url', '*.connectionString', 'req.headers.authorization', 'req.headers.cookie'], censor: '[hidden]' },
  })
}
