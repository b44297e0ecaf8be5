/**
 * Which process reads which partitions of a topic in Kafka: a consumer group of the classic protocol, used for nothing but that. kafkajs's own consumer takes all
 * partitions away at each change and fetches beside; here a member speaks the group's protocol itself, and shares out as kafka-assignment.ts says.
 *
 * A member sends heartbeats while its process runs. One that is killed or stopped is missed after `sessionTimeoutMs`, the least that brokers allow; one that
 * ends says so. Each member knows what its consumer may still be reading, and claims that when it joins; when the consumer has let something go, it joins
 * again without it. The group's leader looks for new partitions. A member that has not reached its coordinator for a whole session holds nothing.
 */
import { AssignerProtocol } from 'kafkajs'
import { UnavailableError } from '#core/errors.ts'
import type { Vector } from '#core/ports.ts'
import type { Claim } from './kafka-assignment.ts'
import { shareOut } from './kafka-assignment.ts'
import type { KafkaConnection } from './kafka-connection.ts'
import { code, codeOf, translate } from './kafka-errors.ts'
import { KafkaLink, isTransient } from './kafka-link.ts'
import { OfferedPartitions } from './offered-partitions.ts'
import { pause, unlessAborted } from './waiting.ts'

export type GroupOptions = {
  readonly link: KafkaLink
  readonly groupId: string
  readonly topic: string
  readonly callTimeoutMs: number
  readonly sessionTimeoutMs: number
  readonly heartbeatMs: number
  /** How often the leader looks for new partitions. */
  readonly partitionsCheckMs: number
}

const protocolName = 'tidemark-cooperative'
const backOffMs = { first: 50, max: 2_000 } as const
/** Leaving is a courtesy: without it the others wait for the session to end. */
const leaveMs = 1_000
const { MemberMetadata, MemberAssignment } = AssignerProtocol

type Joined = {
  readonly generationId: number
  readonly leaderId: string
  readonly memberId: string
  readonly members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[]
}
type Membership = { readonly generationId: number; readonly leads: boolean; readonly coordinator: KafkaConnection }

/**
 * The lists of partitions held, ascending, the first as soon as it is known. Ends when aborted. Throws ConfigError, and UnavailableError when the log is closed.
 */
export async function* followGroup(member: GroupMember, signal: AbortSignal): AsyncGenerator<readonly number[]> {
  const stop = (): void => member.stop()
  if (signal.aborted) return
  signal.addEventListener('abort', stop, { once: true })
  member.start()
  try {
    yield* member.offers.lists()
  } finally {
    signal.removeEventListener('abort', stop)
    member.stop()
    await member.finished
  }
}

export class GroupMember {
  /** Resolves when the group is left, whether or not the consumer has asked for more. */
  finished: Promise<void> = Promise.resolve()
  readonly #options: GroupOptions
  /** What the group gave; empty once the session may have ended. */
  readonly offers = new OfferedPartitions()
  #memberId = ''
  #membership: Membership | null = null
  #generation = -1
  /** Partitions of the topic when the leader last shared them out. */
  #partitionsShared = 0
  #heardAt = performance.now()
  #claimed: readonly number[] = []

  constructor(options: GroupOptions) {
    this.#options = options
    const { closed } = options.link
    const close = (): void => this.stop(new UnavailableError('The event log was closed.'))
    closed.addEventListener('abort', close, { once: true })
    if (closed.aborted) close()
    this.offers.stopped.addEventListener('abort', () => closed.removeEventListener('abort', close), { once: true })
  }

  start(): void {
    this.finished = this.#run()
  }

  /** A failure that comes after it is told no more. */
  stop(failure: Error | null = null): void {
    this.offers.stop(this.offers.stopped.aborted ? null : failure)
  }

  async #run(): Promise<void> {
    const { link, topic } = this.#options
    const stopped = this.offers.stopped
    let waitMs: number = backOffMs.first
    try {
      while (!stopped.aborted) {
        try {
          await unlessAborted(this.#session(() => (waitMs = backOffMs.first)), stopped)
        } catch (thrown) {
          if (stopped.aborted) break
          this.#meet(thrown)
          await this.offers.rest(waitMs)
          waitMs = Math.min(waitMs * 2, backOffMs.max)
        }
      }
    } catch (thrown) {
      if (!stopped.aborted) this.stop(translate(thrown, `share out topic ${topic}`))
    } finally {
      await this.#leave()
      link.close()
    }
  }

  /** Tells the group how far the consumer's own books go, for tools that show lag; nothing here reads it back. */
  async reportPositions(positions: Vector): Promise<void> {
    const membership = this.#membership
    if (membership === null) return
    const { groupId, topic } = this.#options
    const partitions = [...positions].map(([partition, offset]) => ({ partition, offset: String(offset) }))
    const { generationId, coordinator } = membership
    await coordinator.request('OffsetCommit', { groupId, groupGenerationId: generationId, memberId: this.#memberId, topics: [{ topic, partitions }] })
  }

  /** Joins, and stays until the group changes. */
  async #session(onJoined: () => void): Promise<void> {
    const { link, groupId, heartbeatMs, partitionsCheckMs } = this.#options
    await this.#partitions()
    const coordinator = await link.coordinator('group', groupId)
    // A report would wait behind the join for longer than a request may take.
    this.#membership = null
    const membership = await this.#join(coordinator)
    onJoined()
    this.#membership = membership
    let checkAt = performance.now() + partitionsCheckMs
    while (!this.offers.stopped.aborted) {
      await this.offers.rest(heartbeatMs)
      if (this.offers.stopped.aborted) return
      await coordinator.request('Heartbeat', { groupId, groupGenerationId: membership.generationId, memberId: this.#memberId })
      this.#heardAt = performance.now()
      const mayClaim = this.offers.inUse
      if (this.#claimed.some((partition) => !mayClaim.includes(partition))) return
      if (!membership.leads || performance.now() < checkAt) continue
      checkAt = performance.now() + partitionsCheckMs
      if ((await this.#partitions()).length !== this.#partitionsShared) return
    }
  }

  async #join(coordinator: KafkaConnection): Promise<Membership> {
    const { groupId, topic, sessionTimeoutMs } = this.#options
    const claimed = this.offers.inUse
    const userData = Buffer.from(JSON.stringify({ owned: claimed, generation: this.#generation }))
    const request = {
      groupId,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: sessionTimeoutMs,
      protocolType: 'consumer',
      groupProtocols: [{ name: protocolName, metadata: MemberMetadata.encode({ version: 0, topics: [topic], userData }) }],
    }
    // The others are given a session's time to come back.
    const waitMs = 2 * sessionTimeoutMs
    let joined: Joined
    try {
      joined = await coordinator.request<Joined>('JoinGroup', { ...request, memberId: this.#memberId }, waitMs)
    } catch (thrown) {
      if (codeOf(thrown) !== code.memberIdRequired) throw thrown
      this.#memberId = (thrown as { memberId?: string }).memberId ?? ''
      joined = await coordinator.request<Joined>('JoinGroup', { ...request, memberId: this.#memberId }, waitMs)
    }
    this.#memberId = joined.memberId
    const leads = joined.leaderId === joined.memberId
    const groupAssignment = leads ? await this.#assign(joined) : []
    const sync = { groupId, generationId: joined.generationId, memberId: this.#memberId, groupAssignment }
    const { memberAssignment } = await coordinator.request<{ memberAssignment: Buffer }>('SyncGroup', sync, waitMs)
    this.#heardAt = performance.now()
    this.#generation = joined.generationId
    this.#claimed = claimed
    this.offers.give([...(MemberAssignment.decode(memberAssignment)?.assignment[topic] ?? [])].sort((a, b) => a - b))
    return { generationId: joined.generationId, leads, coordinator }
  }

  async #assign({ members }: Joined): Promise<{ memberId: string; memberAssignment: Buffer }[]> {
    const { topic } = this.#options
    const partitions = await this.#partitions()
    this.#partitionsShared = partitions.length
    const shares = shareOut(members.map(({ memberId, memberMetadata }) => ({ memberId, ...claimOf(memberMetadata) })), partitions)
    return [...shares].map(([memberId, share]) => ({ memberId, memberAssignment: MemberAssignment.encode({ version: 0, assignment: { [topic]: share }, userData: Buffer.alloc(0) }) }))
  }

  async #partitions(): Promise<readonly number[]> {
    const { link, topic, callTimeoutMs } = this.#options
    return [...(await link.topic(topic, callTimeoutMs, this.offers.stopped)).partitions.keys()].sort((a, b) => a - b)
  }

  /** After a failure: what is still true of the membership. */
  #meet(thrown: unknown): void {
    const errorCode = codeOf(thrown)
    if (errorCode === code.rebalanceInProgress) return
    if (errorCode === code.unknownMemberId || errorCode === code.illegalGeneration) {
      // The group went on without this member: others may have its partitions.
      this.#memberId = errorCode === code.unknownMemberId ? '' : this.#memberId
      this.#drop()
      return
    }
    if (!isTransient(thrown) && !(thrown instanceof UnavailableError)) throw thrown
    if (performance.now() - this.#heardAt > this.#options.sessionTimeoutMs) this.#drop()
  }

  #drop(): void {
    this.#membership = null
    this.#generation = -1
    this.offers.give([])
  }

  async #leave(): Promise<void> {
    const { groupId } = this.#options
    if (this.#memberId === '') return
    // On connections of its own: a join may still be under way on the others.
    const link = new KafkaLink(this.#options.link.settings, new AbortController().signal)
    const left = (async () => {
      const coordinator = await link.coordinator('group', groupId)
      await coordinator.request('LeaveGroup', { groupId, memberId: this.#memberId, members: [{ memberId: this.#memberId }] })
    })().catch(() => undefined)
    const enough = new AbortController()
    await Promise.race([left, pause(leaveMs, enough.signal)])
    enough.abort()
    link.close()
  }
}

function claimOf(memberMetadata: Buffer): Omit<Claim, 'memberId'> {
  try {
    const { owned, generation } = JSON.parse(MemberMetadata.decode(memberMetadata)!.userData.toString()) as Omit<Claim, 'memberId'>
    return { owned, generation }
  } catch {
    return { owned: [], generation: -1 }
  }
}
