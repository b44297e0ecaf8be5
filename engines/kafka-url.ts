/** What a `kafka://` address says. */
import { ConfigError } from '#core/errors.ts'

export type BrokerAddress = { readonly host: string; readonly port: number }
export type KafkaAddress = {
  readonly brokers: readonly BrokerAddress[]
  readonly tls: boolean
  readonly sasl: { readonly mechanism: string; readonly username: string; readonly password: string } | null
}

const form = 'kafka://[user:password@]host:port[,host:port…][?tls=true][&mechanism=scram-sha-256]'
const mechanisms = ['plain', 'scram-sha-256', 'scram-sha-512']
const defaultPort = 9092

/** Several brokers in one address are no URL, so it is taken apart here. Throws ConfigError. */
export function parseKafkaUrl(url: string): KafkaAddress {
  const parts = /^kafka:\/\/(?:([^@/?]*)@)?([^@/?]+)\/?(?:\?(.*))?$/.exec(url)
  if (parts === null) throw new ConfigError(`The address of Kafka is not of the form ${form}.`)
  const [, user, hosts, query] = parts
  const settings = new URLSearchParams(query ?? '')
  for (const name of settings.keys()) if (name !== 'tls' && name !== 'mechanism') throw new ConfigError(`The address of Kafka has an unknown setting ${name}. Write ${form}.`)
  const mechanism = (settings.get('mechanism') ?? 'plain').toLowerCase()
  if (!mechanisms.includes(mechanism)) throw new ConfigError(`Kafka's mechanism ${mechanism} is not known: use ${mechanisms.join(', ')}.`)
  const [username = '', password = ''] = (user ?? '').split(':').map(decodeURIComponent)
  return {
    brokers: hosts!.split(',').map(parseBroker),
    tls: settings.get('tls') === 'true',
    sasl: user === undefined ? null : { mechanism, username, password },
  }
}

function parseBroker(text: string): BrokerAddress {
  const parts = /^(\[[0-9a-fA-F:]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text)
  const port = Number(parts?.[2] ?? defaultPort)
  if (parts === null || port < 1 || port > 65_535) throw new ConfigError(`The address of Kafka names no broker in ${JSON.stringify(text)}. Write ${form}.`)
  return { host: parts[1]!.replace(/^\[|\]$/g, ''), port }
}
