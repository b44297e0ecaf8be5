/** A small request with a deadline. */

const withinMs = 5_000

export type FetchOptions = { readonly method?: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: string; readonly signal: AbortSignal }

export async function fetchText(url: string, { signal, ...options }: FetchOptions): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(url, { ...options, signal: AbortSignal.any([signal, AbortSignal.timeout(withinMs)]) })
  return { status: response.status, text: await response.text() }
}
