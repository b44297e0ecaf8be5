import type { ComponentChildren } from 'preact'
import { Problem, type Piece } from '../api.ts'
import { downloadCsv, writeCsv } from '../csv.ts'
import { usePage } from '../page-context.ts'
import { useUrlParam } from '../use-url-param.ts'
import { TableTwin, type Twin } from './table-twin.tsx'

type CardProps<Row> = {
  readonly id: string
  readonly title: string
  /** Null while loading; a Problem where this part is not to be had. */
  readonly piece: Piece<Row> | null
  /** Rows of the page's currency, or a selection, as the table and the CSV list them. */
  readonly twin: (rows: readonly Row[]) => Twin<Row>
  /** The chart in one sentence. */
  readonly takeaway: (rows: readonly Row[]) => string
  readonly children: (rows: readonly Row[]) => ComponentChildren
  readonly empty: string
  readonly controls?: ComponentChildren
  readonly wide?: boolean
}

/** A chart with its name, its one sentence, its table and its CSV. Loading, failed, empty and filled each look different. */
export function Card<Row extends { readonly currency: string }>({ id, title, piece, twin, takeaway, children, empty, controls, wide }: CardProps<Row>) {
  const { currency, notLive, today } = usePage()
  const [view, setView] = useUrlParam(id, 'chart')
  const rows = piece === null || piece instanceof Problem ? [] : piece.filter((row) => row.currency === currency)
  const filled = rows.length > 0
  const table = filled ? twin(rows) : null
  const saveCsv = (): void => {
    if (table === null) return
    const header = table.columns.map((column) => column.title)
    downloadCsv(`tidemark-${id}-${today}.csv`, writeCsv(header, table.rows.map((row) => table.columns.map((column) => column.cell(row)))))
  }

  return (
    <section class={wide === true ? 'card card-wide' : 'card'} aria-labelledby={`${id}-title`} aria-busy={piece === null}>
      <header class="card-head">
        <h2 id={`${id}-title`}>{title}</h2>
        <div class="card-actions">
          {controls}
          <button type="button" class="quiet-button" aria-pressed={view === 'table'} aria-label={`Table: ${title}`} disabled={!filled} onClick={() => setView(view === 'table' ? 'chart' : 'table')}>
            Table
          </button>
          <button type="button" class="quiet-button" aria-label={`CSV: ${title}`} disabled={!filled} onClick={saveCsv}>
            CSV
          </button>
        </div>
      </header>
      {notLive !== null && filled && <p class="stale-note">{notLive}</p>}
      {piece === null && <Skeleton />}
      {piece instanceof Problem && <p class="problem">This part is missing: {piece.message} It is asked for again by itself.</p>}
      {piece !== null && !(piece instanceof Problem) && !filled && <p class="empty-note">{empty}</p>}
      {filled && (
        <p class="takeaway" id={`${id}-takeaway`}>
          {takeaway(rows)}
        </p>
      )}
      {table !== null && view === 'table' && <TableTwin {...table} />}
      {filled && view !== 'table' && (
        <figure aria-labelledby={`${id}-title`} aria-describedby={`${id}-takeaway`}>
          {children(rows)}
        </figure>
      )}
    </section>
  )
}

function Skeleton() {
  return (
    <div class="skeleton" aria-hidden="true">
      <span />
      <span />
      <span />
    </div>
  )
}
