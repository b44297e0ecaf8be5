/**
 * A second count of a generated stream, from its bytes alone: split, JSON.parse and a Map. It shares no code with the generator or core.
 * Refused records must be left out by the caller; what is a copy and what a conflict it finds out by itself.
 */

type Parsed = { readonly id: string; readonly fields: string; readonly day: string; readonly city: string; readonly category: string; readonly productId: string; readonly currency: string; readonly refund: boolean; readonly firstLine: boolean; readonly quantity: number; readonly totalMinor: bigint }

export type Recount = { readonly revenue: Map<string, string>; readonly products: Map<string, string>; readonly events: number; readonly copies: number; readonly conflicts: number; readonly names: ReadonlySet<string> }

const digitsOf: Readonly<Record<string, number>> = { GBP: 2, EUR: 2, CHF: 2, JPY: 0 }

function minorOf(text: string, currency: string): bigint {
  const digits = digitsOf[currency]
  if (digits === undefined) throw new Error(`no digits for ${currency}`)
  const [whole = '', fraction = ''] = text.split('.')
  if (/[1-9]/.test(fraction.slice(digits))) throw new Error(`${text} is finer than ${currency}`)
  return BigInt(whole + fraction.slice(0, digits).padEnd(digits, '0'))
}

function splitLine(line: string): string[] {
  const fields: string[] = []
  for (const [, quoted, plain] of line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)) fields.push(quoted?.replaceAll('""', '"') ?? plain ?? '')
  return fields
}

export function recount(values: Iterable<Uint8Array>, zone: string, shopCurrency: string): Recount {
  const dayFormat = new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' })
  const seen = new Map<string, string>()
  const cells = new Map<string, { t: number; o: number; r: number; u: number; b: number; g: bigint; m: bigint }>()
  let copies = 0
  let conflicts = 0
  const names = new Set<string>()
  const add = (key: string, event: Parsed): void => {
    const cell = cells.get(key) ?? { t: 0, o: 0, r: 0, u: 0, b: 0, g: 0n, m: 0n }
    cells.set(key, cell)
    if (event.refund) {
      cell.r += 1
      cell.b += event.quantity
      cell.m += event.totalMinor
    } else {
      cell.t += 1
      if (event.firstLine) cell.o += 1
      cell.u += event.quantity
      cell.g += event.totalMinor
    }
  }
  const count = (event: Parsed): void => {
    const first = seen.get(event.id)
    if (first !== undefined) {
      if (first === event.fields) copies += 1
      else conflicts += 1
      return
    }
    seen.set(event.id, event.fields)
    add(`revenue|${event.day}|${event.city}|${event.category}|${event.currency}`, event)
    add(`products|${event.day}|${event.productId}|${event.currency}`, event)
  }
  for (const value of values) {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(value)
    if (text.startsWith('{')) {
      const order = JSON.parse(text)
      for (const line of order.lines ?? [order]) {
        const one = { ...order, ...line, lines: undefined }
        const minor = (money: string | number | undefined): bigint => minorOf(String(money ?? '0'), one.currency)
        const [price, discount, tax, shipping, totalMinor] = [one.unitPrice, one.discount, one.tax, one.shipping, one.total].map(minor) as [bigint, bigint, bigint, bigint, bigint]
        if (BigInt(one.quantity) * price - discount !== totalMinor) throw new Error(`does not add up: ${text}`)
        const atMs = Date.parse(one.occurredAt)
        const [city, category, name, brand] = [one.city, one.category, one.productName, one.brand ?? ''].map((word: string) => word.normalize('NFC')) as [string, string, string, string]
        names.add(name)
        count({
          id: `${one.source ?? ''}|${one.eventId}`,
          fields: [one.kind, one.orderId, one.orderLine, one.userId, one.productId, name, category, brand, city, one.quantity, price, discount, tax, shipping, totalMinor, one.currency, atMs, one.refundOf, one.saleDay].join('|'),
          day: dayFormat.format(atMs),
          city,
          category,
          productId: one.productId,
          currency: one.currency,
          refund: one.kind === 'refund',
          firstLine: one.orderLine === 1,
          quantity: one.quantity,
          totalMinor,
        })
      }
    } else {
      const [id = '', user = '', productId = '', name = '', category = '', quantity = '', price = '', total = '', time = '', city = '', ...rest] = splitLine(text.normalize('NFC'))
      if (rest.length > 0) throw new Error(`too many fields: ${text}`)
      if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(time)) throw new Error(`no time: ${text}`)
      const totalMinor = minorOf(total, shopCurrency)
      if (BigInt(quantity) * minorOf(price, shopCurrency) !== totalMinor) throw new Error(`does not add up: ${text}`)
      names.add(name)
      count({
        id: `|${id}`,
        fields: [user, productId, name, category, quantity, totalMinor, time, city].join('|'),
        // In the zones of these tests no clock changes at midnight, so the written day is the local day.
        day: time.slice(0, 10),
        city,
        category,
        productId,
        currency: shopCurrency,
        refund: false,
        firstLine: true,
        quantity: Number(quantity),
        totalMinor,
      })
    }
  }
  const rowsOf = (view: string): Map<string, string> => {
    const rows = new Map<string, string>()
    for (const [key, { t, o, r, u, b, g, m }] of cells) if (key.startsWith(`${view}|`)) rows.set(key.slice(view.length + 1), [t, o, r, u, b, g, m].join(' '))
    return rows
  }
  return { revenue: rowsOf('revenue'), products: rowsOf('products'), events: seen.size, copies, conflicts, names }
}
