/** A mail server on this machine that keeps what it gets, and misbehaves when told to. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import PostalMime from 'postal-mime'
import type { Email } from 'postal-mime'
import { SMTPServer } from 'smtp-server'

/** Of the next mails, one after the other; then they are taken. */
export type MailFault = 'later' | 'hang' | 'refuse recipient' | 'refuse mail' | 'cut after data' | 'refuse login'

export type MailServer = AsyncDisposable & {
  readonly port: number
  readonly faults: MailFault[]
  /** Whole mails in the order in which they came, also those whose taking was never confirmed. */
  readonly taken: { readonly to: string; readonly raw: string }[]
  mails(): Promise<Email[]>
  url(query?: string): string
}

export const mailUser = 'books-robot'
export const mailPassword = 'pass/word:geheim'

export async function openMailServer(options: { readonly port?: number; readonly offersTls?: boolean } = {}): Promise<MailServer> {
  const faults: MailFault[] = []
  const taken: { to: string; raw: string }[] = []
  const failing = (code: number, text: string): Error => Object.assign(new Error(text), { responseCode: code })
  const server = new SMTPServer({
    hideSTARTTLS: options.offersTls !== true,
    allowInsecureAuth: true,
    authOptional: false,
    disableReverseLookup: true,
    logger: false,
    closeTimeout: 50,
    onAuth: (auth, _session, callback) => {
      const isRight = auth.username === mailUser && auth.password === mailPassword && faults[0] !== 'refuse login'
      if (faults[0] === 'refuse login') faults.shift()
      // Some servers say back what they were told.
      callback(isRight ? null : failing(535, `no login for ${auth.username} with ${auth.password}`), isRight ? { user: mailUser } : undefined)
    },
    onRcptTo: (address, _session, callback) => {
      if (faults[0] !== 'refuse recipient') return callback()
      faults.shift()
      callback(failing(550, `no such box ${address.address}, said ${mailPassword}`))
    },
    onData: (stream, session, callback) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const fault = faults.shift()
        if (fault === 'hang') return
        if (fault === 'later') return callback(failing(451, 'come back later'))
        if (fault === 'refuse mail') return callback(failing(554, 'this is no mail for us'))
        taken.push({ to: session.envelope.rcptTo.map(({ address }) => address).join(','), raw: Buffer.concat(chunks).toString('utf8') })
        if (fault === 'cut after data') return connectionOf(server).forEach((one) => one.close())
        callback()
      })
    },
  })
  server.on('error', () => undefined)
  const listening = server.listen(options.port ?? 0, '127.0.0.1')
  await once(listening, 'listening')
  const { port } = listening.address() as AddressInfo
  return {
    port,
    faults,
    taken,
    mails: () => Promise.all(taken.map(({ raw }) => PostalMime.parse(raw))),
    url: (query = '') => `smtp://${mailUser}:${encodeURIComponent(mailPassword)}@127.0.0.1:${port}${query}`,
    async [Symbol.asyncDispose](): Promise<void> {
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

function connectionOf(server: SMTPServer): { close(): void }[] {
  return [...(server.connections as Iterable<{ close(): void }>)]
}
