import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { Problem, type MinuteRow, type Piece } from '../api.ts'
import { decimalOf, formatCount, formatMinorMoney, formatMinute, formatMoneyShort, majorNumber } from '../format.ts'
import { usePage } from '../page-context.ts'
import { Card } from './card.tsx'
import { fillMinutes, type FilledMinute } from './minute-line.ts'

const chartHeight = 220

export function Minutes({ piece, asOfMs }: { readonly piece: Piece<MinuteRow>; readonly asOfMs: number }) {
  const { currency, zone } = usePage()
  const filled = piece instanceof Problem ? piece : fillMinutes(piece, currency, asOfMs)
  return (
    <Card
      id="minutes"
      title="Last three hours, by minute"
      wide
      piece={filled}
      empty="No sales in the last three hours."
      takeaway={(rows) => describeBusiest(rows, zone)}
      twin={(rows) => ({
        caption: 'Last three hours by minute, newest first',
        columns: [
          { title: 'Minute', kind: 'name', cell: (row) => new Date(row.minuteMs).toISOString(), show: (row) => formatMinute(row.minuteMs, zone) },
          { title: 'Transactions', kind: 'number', cell: (row) => String(row.transactions), show: (row) => formatCount(row.transactions) },
          { title: 'Gross', kind: 'number', cell: (row) => decimalOf(row.grossMinor, row.currency), show: (row) => formatMinorMoney(row.grossMinor, row.currency) },
          { title: 'Refunds', kind: 'number', cell: (row) => decimalOf(row.refundsMinor, row.currency), show: (row) => formatMinorMoney(row.refundsMinor, row.currency) },
          { title: 'Currency', kind: 'name', cell: (row) => row.currency },
        ],
        rows: rows.toReversed(),
      })}
    >
      {(rows) => <Line rows={rows} />}
    </Card>
  )
}

function Line({ rows }: { readonly rows: readonly FilledMinute[] }) {
  const { currency, zone, colours } = usePage()
  const place = useRef<HTMLDivElement>(null)
  const readout = useRef<HTMLSpanElement>(null)
  const plot = useRef<uPlot | null>(null)
  const shown = useRef(rows)
  shown.current = rows

  // A canvas cannot follow a change of colours: the plot is made anew for each.
  useEffect(() => {
    const element = place.current
    if (element === null) return
    const made = new uPlot(
      makeOptions(element, currency, zone, (index) => {
        const row = index === null ? undefined : shown.current[index]
        if (readout.current !== null) readout.current.textContent = row === undefined ? '' : describeMinute(row, zone)
      }),
      plotData(shown.current),
      element,
    )
    plot.current = made
    const resize = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: chartHeight }))
    resize.observe(element)
    return () => {
      resize.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [currency, zone, colours])
  useEffect(() => plot.current?.setData(plotData(rows)), [rows])

  return (
    <>
      <div class="line-plot" ref={place} aria-hidden="true" />
      <figcaption class="line-legend">
        <span class="legend-gross">Gross</span>
        <span class="legend-refunds">Refunds, dashed</span>
        <span ref={readout} class="line-readout" />
        <span>From the speed layer alone; the newest minute is still filling.</span>
      </figcaption>
    </>
  )
}

function plotData(rows: readonly FilledMinute[]): uPlot.AlignedData {
  return [
    rows.map((row) => row.minuteMs / 1000),
    rows.map((row) => majorNumber(row.grossMinor, row.currency)),
    rows.map((row) => majorNumber(row.refundsMinor, row.currency)),
  ]
}

function makeOptions(element: HTMLElement, currency: string, zone: string, onMinute: (index: number | null) => void): uPlot.Options {
  const style = getComputedStyle(element)
  const colour = (name: string): string => style.getPropertyValue(name)
  const axis: uPlot.Axis = { stroke: colour('--muted'), font: `12px ${style.fontFamily}`, grid: { stroke: colour('--rule'), width: 1 }, ticks: { show: false } }
  return {
    width: element.clientWidth,
    height: chartHeight,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    padding: [8, 8, 0, 0],
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.08)] } },
    axes: [
      { ...axis, grid: { show: false }, space: 56, size: 28, values: (_plot, times) => times.map((seconds) => formatMinute(seconds * 1000, zone)) },
      { ...axis, size: 60, values: (_plot, amounts) => amounts.map((amount) => formatMoneyShort(amount, currency)) },
    ],
    series: [
      {},
      { label: 'Gross', stroke: colour('--accent'), fill: colour('--accent-faint'), width: 1.75, points: { show: false } },
      { label: 'Refunds', stroke: colour('--second'), width: 1.5, dash: [4, 3], points: { show: false } },
    ],
    hooks: { setCursor: [(plot) => onMinute(plot.cursor.idx ?? null)] },
  }
}

function describeMinute(row: FilledMinute, zone: string): string {
  return `${formatMinute(row.minuteMs, zone)}: ${formatMinorMoney(row.grossMinor, row.currency)} gross, ${formatMinorMoney(row.refundsMinor, row.currency)} refunds`
}

function describeBusiest(rows: readonly FilledMinute[], zone: string): string {
  const [first] = rows
  if (first === undefined) return ''
  const busiest = rows.reduce((best, row) => (BigInt(row.grossMinor) > BigInt(best.grossMinor) ? row : best))
  const gross = rows.reduce((sum, row) => sum + BigInt(row.grossMinor), 0n)
  return `${formatMinorMoney(gross, first.currency)} gross in three hours; the best minute was ${formatMinute(busiest.minuteMs, zone)} with ${formatMinorMoney(busiest.grossMinor, first.currency)}.`
}
