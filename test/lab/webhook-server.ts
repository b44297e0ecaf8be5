/** A receiver of webhooks on this machine that keeps what it gets, and misbehaves when told to. */
import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Of the next posts, one after the other; then they are taken. A number is a status. */
export type WebhookFault = number | 'hang' | 'cut' | { readonly redirect: string }

export type WebhookServer = AsyncDisposable & {
  readonly origin: string
  readonly url: string
  readonly faults: WebhookFault[]
  readonly posts: { readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: string }[]
}

export const webhookSecretPath = '/services/T0/B0/geheimerpfad'

export async function openWebhookServer(): Promise<WebhookServer> {
  const faults: WebhookFault[] = []
  const posts: WebhookServer['posts'] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      posts.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') })
      const fault = faults.shift()
      if (fault === 'hang') return
      if (fault === 'cut') return void request.socket.destroy()
      if (typeof fault === 'object') return void response.writeHead(307, { location: fault.redirect }).end()
      response.writeHead(fault ?? 200).end(`you posted to ${request.url}`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    url: `${origin}${webhookSecretPath}`,
    faults,
    posts,
    async [Symbol.asyncDispose](): Promise<void> {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
