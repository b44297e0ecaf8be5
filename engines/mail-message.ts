/** A mail as the bytes that go over the wire or into an `.eml` file. The same mail gives the same bytes. */
import { createHash } from 'node:crypto'
import MailComposer from 'nodemailer/lib/mail-composer'
import type { Mail } from '#core/ports.ts'

export async function composeMail(mail: Mail): Promise<Uint8Array> {
  const composer = new MailComposer({
    from: mail.from,
    to: mail.to,
    subject: mail.subject,
    messageId: `<${mail.messageId}>`,
    ...(mail.inReplyTo !== null && { inReplyTo: `<${mail.inReplyTo}>`, references: `<${mail.inReplyTo}>` }),
    date: mail.date,
    text: mail.text,
    html: mail.html,
    // Nobody's holiday answers a report.
    headers: { 'Auto-Submitted': 'auto-generated' },
    attachments: mail.attachments.map(({ name, type, content }) => ({ filename: name, contentType: type, content: Buffer.from(content), contentTransferEncoding: 'base64' as const })),
    baseBoundary: createHash('sha256').update(mail.messageId).digest('hex').slice(0, 24),
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  // Lines of a mail end with CR LF, also in a file; the server would make them so. What is attached is base64, and stays as it is.
  return Buffer.from((await composer.compile().build()).toString('latin1').replaceAll(/\r?\n/g, '\r\n'), 'latin1')
}

/** `Books <books@shop.example>` → `books@shop.example`. */
export function addressOf(sender: string): string {
  return /<([^<>]+)>$/.exec(sender)?.[1] ?? sender
}
