/** What Kafka's failures mean for the caller. */
import { AssertionError } from 'node:assert'
import errors from 'kafkajs/src/protocol/error.js'
import { ConfigError, InvalidRequestError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

/** Error codes of the protocol that the adapter reacts to. */
export const code = {
  none: 0,
  offsetOutOfRange: 1,
  corruptMessage: 2,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  messageTooLarge: 10,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  recordListTooLarge: 18,
  illegalGeneration: 22,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  topicAlreadyExists: 36,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidTransactionState: 48,
  invalidProducerIdMapping: 49,
  concurrentTransactions: 51,
  unknownProducerId: 59,
  memberIdRequired: 79,
  producerFenced: 90,
  unknownTopicId: 100,
  inconsistentTopicId: 103,
} as const

/** Codes that pass: another leader, a broker that starts, a replica that is behind, a request that took too long there. */
const passing: ReadonlySet<number> = new Set([3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 74, 75, 78, 100, 103])

export function isPassing(errorCode: number): boolean {
  return passing.has(errorCode)
}

/** The broker answered with an error code. */
export class KafkaFailure extends Error {
  readonly errorCode: number

  constructor(errorCode: number, said?: string | null) {
    super(said ?? errors.createErrorFromCode(errorCode).message)
    this.errorCode = errorCode
  }
}

/** Throws unless the code says that all went well. */
export function failIf(errorCode: number): void {
  if (errorCode !== code.none) throw new KafkaFailure(errorCode)
}

/** The protocol's code of whatever was thrown by us or by kafkajs, or null. */
export function codeOf(thrown: unknown): number | null {
  if (thrown instanceof KafkaFailure) return thrown.errorCode
  const found = thrown instanceof Error && 'code' in thrown && 'type' in thrown ? thrown.code : null
  return typeof found === 'number' && found !== -99 ? found : null
}

/** Code → what a person must do. */
const fixes: ReadonlyMap<number, string> = new Map([
  [17, 'Use A-Z, a-z, 0-9, ".", "_" and "-" in the names of topics.'],
  [23, 'Another program is in this consumer group: stop it, or choose another group.'],
  [24, 'Choose another name for the consumer group.'],
  [26, "Let the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms allow 6 s."],
  [29, 'Grant this user the rights on the topic.'],
  [30, 'Grant this user the rights on the consumer group.'],
  [31, 'Grant this user the rights on the cluster.'],
  [33, 'Name a mechanism that the brokers offer: plain, scram-sha-256 or scram-sha-512.'],
  [34, 'The brokers ask for a user and a password: write kafka://user:password@host:port.'],
  [35, 'Use Kafka 3.1 or newer.'],
  [37, 'Use a number of partitions that the brokers allow.'],
  [38, 'Start more brokers, or create the topic by hand with fewer replicas.'],
  [40, 'Create the topic by hand with message.timestamp.type=LogAppendTime.'],
  [44, "The brokers' policy refuses it: create the topic by hand."],
  [53, 'Grant this user the rights on transactional ids.'],
  [54, 'The brokers are not set up for users: leave user and password out of the address.'],
  [58, 'Check the user and password in the address.'],
])

const tooLarge: ReadonlySet<number> = new Set([code.messageTooLarge, code.recordListTooLarge])

/** The typed error for whatever a call threw. Our own mistakes stay as they are. */
export function translate(thrown: unknown, task: string): Error {
  if (thrown instanceof TidemarkError || thrown instanceof AssertionError || thrown instanceof TypeError || thrown instanceof RangeError) return thrown
  const message = `The event log could not ${task}: ${messageOf(thrown)}.`.replace(/\.\.$/, '.')
  const errorCode = codeOf(thrown)
  if (errorCode === null) {
    if (thrown instanceof Error && /SASLAuth/.test(thrown.name)) return new ConfigError(`${message} Check the user and password in the address.`, {}, thrown)
    return new UnavailableError(`${message} Is Kafka reachable?`, {}, thrown)
  }
  const fix = fixes.get(errorCode)
  if (fix !== undefined) return new ConfigError(`${message} ${fix}`, { errorCode }, thrown)
  if (tooLarge.has(errorCode)) return new InvalidRequestError(`${message} Send smaller records, or raise the topic's max.message.bytes.`, { errorCode })
  return new UnavailableError(message, { errorCode }, thrown)
}

export function unknownTopic(topic: string): ConfigError {
  return new ConfigError(`The log has no topic ${topic}. Create it, or correct its name in the configuration.`, { topic })
}
