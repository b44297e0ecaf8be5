import { ConfigError } from '#core/errors.ts'

const partitionsMax = 10_000

/** Throws ConfigError for what no log would make. */
export function checkTopic(topic: string, partitions: number): void {
  if (!/^[A-Za-z0-9._-]{1,249}$/.test(topic) || topic === '.' || topic === '..') {
    throw new ConfigError(`A topic cannot be called ${JSON.stringify(topic)}: use A-Z, a-z, 0-9, ".", "_" and "-", at most 249 characters.`)
  }
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > partitionsMax) {
    throw new ConfigError(`Topic ${topic} cannot have ${partitions} partitions: use 1 to ${partitionsMax}.`)
  }
}
