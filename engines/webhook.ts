/** Posts JSON to one address, signed where a secret is set. Nothing of it goes to another host, and no error tells the address, which may be the secret. */
import { createHash, createHmac } from 'node:crypto'
import { ConfigError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Webhook } from '#core/ports.ts'

export type WebhookOptions = {
  readonly url: string
  /** Signs the body: `X-Tidemark-Signature: sha256=<hex>`. Empty: unsigned. */
  readonly secret?: string
  /** Default 15,000. */
  readonly timeoutMs?: number
}

const timeoutMsDefault = 15_000
const redirectsMax = 3

export function openWebhook({ url, secret = '', timeoutMs = timeoutMsDefault }: WebhookOptions): Webhook {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new ConfigError('REPORT_WEBHOOK_URL must be https://… or http://….')
  const address = new URL(url)
  if (address.username !== '' || address.password !== '') throw new ConfigError('REPORT_WEBHOOK_URL takes no user and password: set REPORT_WEBHOOK_SECRET, which signs what is posted.')
  const target = `${address.origin}#${createHash('sha256').update(address.href).digest('hex').slice(0, 12)}`
  return {
    target,
    async post(body: string, idempotencyKey: string, signal: AbortSignal): Promise<void> {
      const headers = {
        'content-type': 'application/json',
        'user-agent': 'tidemark',
        'idempotency-key': idempotencyKey,
        ...(secret !== '' && { 'x-tidemark-signature': signatureOf(body, secret) }),
      }
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
      let at = address
      for (let redirects = 0; ; redirects++) {
        const response = await ask(at, { method: 'POST', headers, body, redirect: 'manual', signal: limit }, address.origin)
        const location = response.headers.get('location')
        await response.body?.cancel().catch(() => undefined)
        if (response.ok) return
        // Only these two keep the post a post.
        if ((response.status !== 307 && response.status !== 308) || location === null) throw refusal(response.status, address.origin)
        at = redirected(at, location)
        if (redirects === redirectsMax) throw new InvalidRequestError(`The webhook at ${address.origin} sends the post from one place to the next. Set REPORT_WEBHOOK_URL to the last.`)
      }
    },
  }
}

/** As the receiver works it out of the body's bytes and the shared secret. */
export function signatureOf(body: string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
}

async function ask(at: URL, request: RequestInit, origin: string): Promise<Response> {
  try {
    return await fetch(at, request)
  } catch (thrown) {
    const why = thrown instanceof Error && thrown.name === 'TimeoutError' ? 'no answer in time' : causeOf(thrown)
    throw new UnavailableError(`The webhook at ${origin} did not take the post: ${why}.`)
  }
}

/** The system's word for it; messages may hold the address. */
function causeOf(thrown: unknown): string {
  const cause = thrown instanceof Error ? thrown.cause : undefined
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined
  return code ?? (thrown instanceof Error ? thrown.name : 'it failed')
}

function redirected(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : null
  if (to === null || to.origin !== from.origin) throw new InvalidRequestError(`The webhook at ${from.origin} sends the post to another host, which it does not get. Set REPORT_WEBHOOK_URL to the right one.`)
  return to
}

function refusal(status: number, origin: string): Error {
  if (status === 408 || status === 425 || status === 429 || status >= 500) return new UnavailableError(`The webhook at ${origin} answered ${status}.`)
  return new InvalidRequestError(`The webhook at ${origin} refuses the post: it answered ${status}. Check REPORT_WEBHOOK_URL; "tidemark report send" tries again.`)
}
