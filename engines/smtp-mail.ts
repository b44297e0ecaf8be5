/** Mail over SMTP. Each mail has a connection of its own: reports are few. Nothing waits longer than its time-outs, and no error repeats a password. */
import { createTransport } from 'nodemailer'
import type { TidemarkError } from '#core/errors.ts'
import { ConfigError, InvalidRequestError, UnavailableError, messageOf } from '#core/errors.ts'
import type { Mail, ReportMail } from '#core/ports.ts'
import { hideSecrets } from './hidden.ts'
import { addressOf, composeMail } from './mail-message.ts'

export type SmtpOptions = {
  /**
   * `smtp://user:password@host:587` (TLS by STARTTLS), `smtps://host:465` (TLS from the start). `?tls=required` refuses to go on without TLS and is the
   * default with a password for another machine, `?tls=optional` takes it where it is offered, `?tls=off` never.
   */
  readonly url: string
  /** Of connecting, of the greeting, and of each silence after them; default 15,000. */
  readonly silenceMsMax?: number
  /** Of the whole mail; default 120,000. */
  readonly mailMsMax?: number
}

const silenceMsDefault = 15_000
const mailMsDefault = 120_000
const tlsChoices = ['required', 'optional', 'off'] as const
const expected = 'SMTP_URL must be smtp://user:password@host:587 or smtps://…; @ : / in a password are written %40 %3A %2F, and ?tls= may be required, optional or off.'

type Server = { readonly host: string; readonly port: number; readonly isTls: boolean; readonly tls: (typeof tlsChoices)[number]; readonly user: string; readonly password: string }

export function openSmtpMail(options: SmtpOptions): ReportMail {
  const server = parseSmtpUrl(options.url)
  const { silenceMsMax = silenceMsDefault, mailMsMax = mailMsDefault } = options
  const transport = createTransport({
    host: server.host,
    port: server.port,
    secure: server.isTls,
    requireTLS: server.tls === 'required',
    ignoreTLS: server.tls === 'off',
    // A server that offers no login would take the mail from a stranger, or refuse it with a word that helps nobody.
    ...(server.user !== '' && { auth: { user: server.user, pass: server.password }, forceAuth: true }),
    connectionTimeout: silenceMsMax,
    greetingTimeout: silenceMsMax,
    socketTimeout: silenceMsMax,
    dnsTimeout: silenceMsMax,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return {
    async send(mail: Mail, signal: AbortSignal): Promise<void> {
      const raw = Buffer.from(await composeMail(mail))
      const limit = AbortSignal.any([signal, AbortSignal.timeout(mailMsMax)])
      try {
        limit.throwIfAborted()
        await transport.sendMail({ envelope: { from: addressOf(mail.from), to: [mail.to] }, raw, signal: limit })
      } catch (thrown) {
        throw translateSmtpError(thrown, server, mail.to, limit.aborted && !signal.aborted)
      }
    },
    async [Symbol.asyncDispose](): Promise<void> {
      transport.close()
    },
  }
}

/** Throws ConfigError, which never repeats the URL. */
export function parseSmtpUrl(text: string): Server {
  if (!/^smtps?:\/\//.test(text) || !URL.canParse(text)) throw new ConfigError(expected)
  const url = new URL(text)
  const isTls = url.protocol === 'smtps:'
  const [user, password] = [decoded(url.username), decoded(url.password)]
  const asked = url.searchParams.get('tls')
  const choice = tlsChoices.find((one) => one === asked)
  if (url.hostname === '' || (asked !== null && choice === undefined) || (user === '') !== (password === '')) throw new ConfigError(expected)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const isThisMachine = host === 'localhost' || host === '::1' || host.startsWith('127.')
  return { host, port: Number(url.port) || (isTls ? 465 : 587), isTls, tls: choice ?? (password !== '' && !isThisMachine ? 'required' : 'optional'), user, password }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (thrown) {
    throw new ConfigError(expected, {}, thrown instanceof URIError ? undefined : thrown)
  }
}

/** After SMTP: a 4xx may pass, a 5xx does not; where the connection ended the mail may have been taken or not. */
function translateSmtpError(thrown: unknown, server: Server, to: string, isTooSlow: boolean): TidemarkError {
  const where = `${server.host}:${server.port}`
  if (isTooSlow) return new UnavailableError(`The mail server ${where} did not finish in time.`)
  const { code, responseCode } = thrown as { code?: string; responseCode?: number }
  const said = hideSecrets(messageOf(thrown), [server.password, server.user])
  // The driver's error is left out: its fields repeat what was said without hiding anything.
  if (code === 'EAUTH' && (responseCode ?? 500) >= 500) return new ConfigError(`The mail server ${where} refuses the login (${said}). Check the user and password in SMTP_URL.`)
  if (code === 'ETLS' || /certificate|self.signed|STARTTLS/i.test(said)) {
    return new ConfigError(`No safe connection to the mail server ${where} (${said}). Check its certificate, or say in SMTP_URL how it speaks TLS: smtps://, ?tls=optional or ?tls=off.`)
  }
  if (responseCode !== undefined && responseCode >= 500 && (code === 'EENVELOPE' || code === 'EMESSAGE')) {
    return new InvalidRequestError(`The mail server ${where} refuses the mail to ${to} (${said}). Check REPORT_MAIL_TO and REPORT_MAIL_FROM; "tidemark report send" tries again.`)
  }
  return new UnavailableError(`The mail server ${where} did not take the mail: ${said}`)
}
