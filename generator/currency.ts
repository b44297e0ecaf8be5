/** Digits after the point, written down here again (ISO 4217): the oracle does not share core's table. */
import { ConfigError } from '#core/errors.ts'

const WITHOUT_DIGITS = new Set('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'.split(' '))
const WITH_THREE = new Set(['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND'])
const WITH_FOUR = new Set(['CLF', 'UYW'])

export function exponentOf(currency: string): number {
  if (!/^[A-Z]{3}$/.test(currency)) {
    throw new ConfigError(`${JSON.stringify(currency)} is no ISO 4217 currency; give three capital letters such as GBP.`, { currency })
  }
  if (WITHOUT_DIGITS.has(currency)) return 0
  if (WITH_THREE.has(currency)) return 3
  return WITH_FOUR.has(currency) ? 4 : 2
}
