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
  // No part of the address is repeated: a password with a sign that it may not hold would stand in it.
  for (const name of settings.keys()) if ((name !== 'tls' && name !== 'mechanism') || settings.getAll(name).length > 1) throw new ConfigError(`The address of Kafka has an unknown setting, or one twice. Write ${form}, signs such as ? in a password as %3F.`)
  const tls = settings.get('tls') ?? 'false'
  if (tls !== 'true' && tls !== 'false') throw new ConfigError(`The address of Kafka says neither tls=true nor tls=false. Write ${form}.`)
  const mechanism = (settings.get('mechanism') ?? 'plain').toLowerCase()
  if (!mechanisms.includes(mechanism)) throw new ConfigError(`The mechanism in the address of Kafka is not known: use ${mechanisms.join(', ')}.`)
  const [username, password] = credentialsOf(user ?? '')
  return {
    brokers: hosts!.split(',').map(parseBroker),
    tls: tls === 'true',
    sasl: user === undefined ? null : { mechanism, username, password },
  }
}

function credentialsOf(user: string): [username: string, password: string] {
  const colon = user.includes(':') ? user.indexOf(':') : user.length
  try {
    return [decodeURIComponent(user.slice(0, colon)), decodeURIComponent(user.slice(colon + 1))]
  } catch {
    throw new ConfigError(`The user or the password in the address of Kafka holds a % that begins no code: write it as %25. The form is ${form}.`)
  }
}

function parseBroker(text: string): BrokerAddress {
  const parts = /^(\[[0-9a-fA-F:]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text)
  const port = Number(parts?.[2] ?? defaultPort)
  if (parts === null || port < 1 || port > 65_535) throw new ConfigError(`The address of Kafka names no broker in one of its places, or a port that is none. Write ${form}.`)
  return { host: parts[1]!.replace(/^\[|\]$/g, ''), port }
}
