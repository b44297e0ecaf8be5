declare module 'pg-copy-streams' {
  import type { Writable } from 'node:stream'
  import type { Submittable } from 'pg'
  /** A stream for `COPY … FROM STDIN`; `finish` comes once the server has taken everything, `error` with the server's error. */
  export function from(text: string): Writable & Submittable
}
