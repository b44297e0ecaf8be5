import type { EventLog } from '#core/ports.ts'

/** The log's methods as they are, for an object that replaces some of them. */
export function logMethods(log: EventLog): EventLog {
  return {
    create: (...args) => log.create(...args),
    append: (...args) => log.append(...args),
    assigned: (...args) => log.assigned(...args),
    read: (...args) => log.read(...args),
    bounds: (...args) => log.bounds(...args),
    prune: (...args) => log.prune(...args),
    reportPosition: async (...args) => log.reportPosition?.(...args),
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  }
}
