import { expect, test } from 'vitest'
import { wantsAnotherStretch } from '#batch/run.ts'

test.each([
  ['none yet', [], true],
  ['a long one', [60_000], true],
  ['a short one', [1_900], false],
  ['shorter ones, still long', [60_000, 9_000, 3_000], true],
  ['one that no traffic made long', [60_000, 4_000, 3_900], false],
  ['one longer than before', [5_000, 6_000], false],
  ['five', [64_000, 32_000, 16_000, 8_000, 4_000], false],
] as const)('before counting waits for the switch, the batch follows the traffic while that makes stretches shorter: after %s', (_, stretchesMs, wants) => {
  expect(wantsAnotherStretch(stretchesMs)).toBe(wants)
})
