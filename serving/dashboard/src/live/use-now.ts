import { useEffect, useState } from 'preact/hooks'

/** The time, once a second: for ages only. */
export function useNow(clockSkewMs: number): number {
  const [nowMs, setNowMs] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  return nowMs + clockSkewMs
}
