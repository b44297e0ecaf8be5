import { useCallback, useState } from 'preact/hooks'

/** A piece of the page's state that lives in its address, so that a link or a reload shows the same page. The initial value is left out. */
export function useUrlParam(name: string, initial: string): readonly [string, (value: string) => void] {
  const [value, setValue] = useState(() => new URLSearchParams(location.search).get(name) ?? initial)
  const set = useCallback(
    (next: string) => {
      const url = new URL(location.href)
      if (next === initial) url.searchParams.delete(name)
      else url.searchParams.set(name, next)
      history.replaceState(null, '', url)
      setValue(next)
    },
    [name, initial],
  )
  return [value, set]
}
