import { useEffect, useRef, useState } from 'preact/hooks'

/** Screen readers are told at most this often; figures that tick twice a second would drown everything else. */
const announceIntervalMs = 30_000

/** The page's one polite voice. It speaks the newest message when its time has come, and repeats none. */
export function Announcer({ message }: { readonly message: string }) {
  const [spoken, setSpoken] = useState('')
  const newest = useRef(message)
  newest.current = message
  const nextAtMs = useRef(0)
  useEffect(() => {
    const speak = (): void => {
      if (Date.now() < nextAtMs.current || newest.current === '') return
      nextAtMs.current = Date.now() + announceIntervalMs
      setSpoken(newest.current)
    }
    speak()
    const timer = setInterval(speak, 1000)
    return () => clearInterval(timer)
  }, [])
  return (
    <p class="visually-hidden" role="status" aria-live="polite" data-testid="announcer">
      {spoken}
    </p>
  )
}
