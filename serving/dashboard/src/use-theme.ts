import { useEffect, useState } from 'preact/hooks'

export type Theme = 'light' | 'dark'

const storageKey = 'tidemark.theme'
const darkQuery = matchMedia('(prefers-color-scheme: dark)')

/** Follows the system until the reader chooses; the choice stays with the browser. */
export function useTheme(): readonly [Theme, () => void] {
  const [chosen, setChosen] = useState<Theme | null>(readChoice)
  const [systemDark, setSystemDark] = useState(darkQuery.matches)
  useEffect(() => {
    const follow = (): void => setSystemDark(darkQuery.matches)
    darkQuery.addEventListener('change', follow)
    return () => darkQuery.removeEventListener('change', follow)
  }, [])
  const theme = chosen ?? (systemDark ? 'dark' : 'light')
  useEffect(() => {
    if (chosen !== null) document.documentElement.dataset['theme'] = chosen
  }, [chosen])
  const toggle = (): void => {
    const next = theme === 'dark' ? 'light' : 'dark'
    setChosen(next)
    storeChoice(next)
  }
  return [theme, toggle]
}

// Storage may be forbidden; then the choice lasts as long as the page.
function readChoice(): Theme | null {
  try {
    const stored = localStorage.getItem(storageKey)
    return stored === 'light' || stored === 'dark' ? stored : null
  } catch {
    return null
  }
}

function storeChoice(theme: Theme): void {
  try {
    localStorage.setItem(storageKey, theme)
  } catch {
    return
  }
}
