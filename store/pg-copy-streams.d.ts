declare module 'pg-copy-streams' {
  import type { Readable, Writable } from 'node:stream'
  import type { Submittable } from 'pg'
  /** A stream for `COPY … FROM STDIN`; `finish` comes once the server has taken everything, `error` with the server's error. */
  export function from(text: string): Writable & Submittable & { readonly rowCount: number }
  /** A stream of `COPY … TO STDOUT`; `rowCount` is known once it has ended and the next statement was answered. */
  export function to(text: string): Readable & Submittable & { readonly rowCount: number }
}
