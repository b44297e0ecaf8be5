import { useEffect, useState } from 'preact/hooks'
import { fetchJson, Problem, type Answer, type Piece } from '../api.ts'

/** History moves slowly: a batch or this much time brings it up to date. */
const refreshIntervalMs = 60_000

/**
 * Rows of an answer that is not part of the live figures; null while the first is under way. Asked again when `version` changes and
 * every minute, but not while `frozen`: then the last rows stay, and the page says that they are not live.
 */
export function useAnswer<Row>(path: string | null, version: string, frozen: boolean): Piece<Row> | null {
  const [answer, setAnswer] = useState<{ readonly path: string; readonly piece: Piece<Row> } | null>(null)
  useEffect(() => {
    if (path === null || frozen) return
    const run = new AbortController()
    const ask = async (): Promise<void> => {
      const piece = await fetchJson<Answer<Row>>(path, run.signal).then(
        ({ body }) => body.rows,
        (error: unknown) => (error instanceof Problem ? error : new Problem(String(error))),
      )
      if (!run.signal.aborted) setAnswer({ path, piece })
    }
    void ask()
    const timer = setInterval(() => void ask(), refreshIntervalMs)
    return () => {
      run.abort()
      clearInterval(timer)
    }
  }, [path, version, frozen])
  return answer !== null && answer.path === path ? answer.piece : null
}
