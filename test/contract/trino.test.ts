import { randomBytes } from 'node:crypto'
import { describe } from 'vitest'
import { openTrino } from '#engines/trino.ts'
import { testEngine, whereMissing } from '../engines.ts'
import { testQueryEngine } from './query-engine-contract.ts'
import type { QueryEngineUnderTest } from './query-engine-contract.ts'
import { openTestLake, testTrinoUrl } from './trino-lake.ts'

const predicateRounds = 4

describe.skipIf(testEngine('trino') === null || testEngine('hdfs') === null)(`on a real Trino${whereMissing('trino', 'hdfs')}`, () => {
  testQueryEngine('Trino', openSubject, predicateRounds)
})

async function openSubject(): Promise<QueryEngineUnderTest> {
  const lake = await openTestLake(`contract-${randomBytes(6).toString('hex')}`)
  const engine = await openTrino({ url: testTrinoUrl(), lake })
  return {
    lake,
    engine,
    breakDown: async () => {
      await engine[Symbol.asyncDispose]()
    },
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]()
      await lake[Symbol.asyncDispose]()
    },
  }
}
