/** Which topics have figures: records of users and products are names for people, and say nothing of how late, refused or complete the figures are. */
import { referenceTopics } from '#core/decode-reference.ts'

/** A condition on a column that holds a topic. */
export function hasFigures(column: string): string {
  return `${column} NOT IN (${referenceTopics.map((topic) => `'${topic}'`).join(', ')})`
}
