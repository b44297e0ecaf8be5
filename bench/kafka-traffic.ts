/** Sales at a steady rate into a topic, each with the moment at which it was due: open loop, so that a slow append makes the sales behind it late and not fewer. */
import type { EventLog } from '#core/ports.ts'

export const eventsPerSecond = 300
const stepMs = 10

export type Traffic = {
  /** As performance.now() tells it. */
  readonly startedAt: number
  /** When sale `i` was due, as performance.now() tells it; as many as were appended. */
  readonly dueAt: readonly number[]
  /** Ends the traffic; resolves when the last append is done. */
  stop(): Promise<void>
}

/** One partition after another takes the sales, since their keys are spread. */
export function startTraffic(log: EventLog, topic: string): Traffic {
  const startedAt = performance.now()
  const dueAt: number[] = []
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      const due = Math.floor(((performance.now() - startedAt) * eventsPerSecond) / 1000) - dueAt.length
      if (due > 0) {
        await log.append(topic, Array.from({ length: due }, (_, i) => saleOf(dueAt.length + i)))
        for (let i = 0; i < due; i++) dueAt.push(startedAt + (dueAt.length * 1000) / eventsPerSecond)
      }
      await new Promise((resolve) => setTimeout(resolve, stepMs))
    }
  })()
  return {
    startedAt,
    dueAt,
    async stop() {
      stopped = true
      await running
    },
  }
}

function saleOf(number: number): { key: string; value: Uint8Array } {
  const time = new Date().toISOString().slice(0, 19).replace('T', ' ')
  const text = `f-${number},u${number % 500},p${number % 200},"Product ${number % 200}","Category ${number % 8}",1,5.00,5.00,${time},"City ${number % 12}"`
  return { key: String(number), value: Buffer.from(text) }
}
