import { render } from 'preact'
import { App } from './app.tsx'

const page = document.getElementById('page')
if (page === null) throw new Error('The page has no place for the figures.')
page.replaceChildren()
render(<App />, page)
