import { randomUUID } from 'node:crypto'
import { describe } from 'vitest'
import { testEngine, whereMissing } from '../engines.ts'
import { testEventLog } from './event-log-contract.ts'
import { openKafkaSubject } from './kafka-subject.ts'

const kafka = testEngine('kafka')

describe.skipIf(kafka === null)(`on a real broker${whereMissing('kafka')}`, () => {
  testEventLog('Kafka', () => openKafkaSubject(`kafka://${kafka}`, `contract-${randomUUID().slice(0, 8)}`))
})
