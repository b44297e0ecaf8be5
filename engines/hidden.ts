/** Keeps secrets out of texts that people and logs get to see: what a server answers may repeat what it was sent. */

/** Each secret is hidden as it is, as it stands in a URL, and in base64. */
export function hideSecrets(text: string, secrets: readonly string[]): string {
  const forms = secrets.filter((secret) => secret.length > 2).flatMap((secret) => [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64'), Buffer.from(secret).toString('base64').replace(/=+$/, '')])
  return forms.sort((a, b) => b.length - a.length).reduce((hidden, form) => hidden.replaceAll(form, '[hidden]'), text)
}
