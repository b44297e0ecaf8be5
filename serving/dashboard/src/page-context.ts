import { createContext } from 'preact'
import { useContext } from 'preact/hooks'

/** What every card needs to know about the page around it. */
export type PageState = {
  readonly currency: string
  readonly zone: string
  readonly today: string
  /** `not live since 12:04:07`, or null while live. */
  readonly notLive: string | null
  /** Changes whenever the page's colours do: a canvas has to be drawn again. */
  readonly colours: string
}

export const PageContext = createContext<PageState | null>(null)

export function usePage(): PageState {
  const page = useContext(PageContext)
  if (page === null) throw new Error('A card stands outside of the page.')
  return page
}
