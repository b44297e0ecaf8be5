import { expect, test } from 'vitest'
import { ConfigError } from '#core/errors.ts'
import { parseKafkaUrl } from '#engines/kafka-url.ts'

test('an address may name several brokers, a user and a mechanism', () => {
  expect(parseKafkaUrl('kafka://127.0.0.1:29092')).toEqual({ brokers: [{ host: '127.0.0.1', port: 29_092 }], tls: false, sasl: null })
  expect(parseKafkaUrl('kafka://shop:p%40ss@a.example:1,b.example,[::1]:3/?tls=true&mechanism=SCRAM-SHA-512')).toEqual({
    brokers: [{ host: 'a.example', port: 1 }, { host: 'b.example', port: 9092 }, { host: '::1', port: 3 }],
    tls: true,
    sasl: { mechanism: 'scram-sha-512', username: 'shop', password: 'p@ss' },
  })
})

test.each(['kafka://', 'kafka:///', 'http://a:1', 'kafka://a:99999', 'kafka://a:1?ssl=true', 'kafka://a:1?mechanism=gssapi', 'kafka://a:b:c'])('%s is a ConfigError that shows the form', (url) => {
  expect(() => parseKafkaUrl(url)).toThrow(ConfigError)
})

test.each(['kafka://u:s3cret@h:1?tls=1', 'kafka://u:s3cret@h:1?tls=True', 'kafka://u:s3cret@h:1?tls=true&tls=false', 'kafka://u:s3c?ret@h:1', 'kafka://u:s3cret%@h:1', 'kafka://u:s3cret@h:x', 'kafka://u@s3cret@h:1'])(
  '%s is refused, and no part of a password is told',
  (url) => {
    expect(() => parseKafkaUrl(url)).toThrow(ConfigError)
    expect(() => parseKafkaUrl(url)).not.toThrow(/s3c|ret@/)
  },
)

test('a password may hold colons', () => {
  expect(parseKafkaUrl('kafka://u:a:b:c@h:1').sasl?.password).toBe('a:b:c')
})
