/** The shop that the page's tests look at. */
import { buildDashboard } from '../../serving/dashboard/build.ts'
import { StandIn, type Sale } from './page-server.ts'

export type PageShop = AsyncDisposable & {
  readonly url: string
  /** One unit of one product today; the figures follow by themselves. */
  sell(city: string, totalMinor: number): Promise<void>
  stopServer(): Promise<void>
  /** At the same address. */
  startServer(): Promise<void>
}

export const today = new Date().toISOString().slice(0, 10)

export function makeSale(city: string, totalMinor: number, more: Partial<Sale> = {}): Sale {
  return { day: today, hour: 12, city, category: 'Electronics', productId: '2001', productName: 'Laptop', currency: 'GBP', quantity: 1, totalMinor, ...more }
}

/** A shop that sold in London and Leeds today and in the months before. */
export async function openPageShop(): Promise<PageShop> {
  const { dir } = await buildDashboard()
  const history = Array.from({ length: 60 }, (_, index) =>
    makeSale(index % 3 === 0 ? 'London' : 'Leeds', 1999 + index, { day: new Date(Date.parse(today) - (index + 1) * 86_400_000).toISOString().slice(0, 10), hour: index % 24 }),
  )
  const server = new StandIn(dir, today, [...history, makeSale('London', 300_000, { quantity: 2 }), makeSale('Leeds', 1999, { category: 'Books' })])
  await server.start()
  server.sell(makeSale('London', 100))
  return {
    url: server.url,
    sell: async (city, totalMinor) => server.sell(makeSale(city, totalMinor)),
    stopServer: () => server.stop(),
    startServer: () => server.start(),
    [Symbol.asyncDispose]: () => server.stop(),
  }
}
