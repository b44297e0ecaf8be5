import type { ComponentChildren } from 'preact'

export type Column<Row> = {
  readonly title: string
  /** As the CSV has it: names as they are, counts as digits, money as a plain decimal. */
  readonly cell: (row: Row) => string
  /** As people read it, where that differs. */
  readonly show?: (row: Row) => string
  readonly kind: 'name' | 'number'
}

export type Twin<Row> = { readonly caption: string; readonly columns: readonly Column<Row>[]; readonly rows: readonly Row[] }

/** The same figures as the chart above the toggle, as a table; the first column names the row. */
export function TableTwin<Row>({ caption, columns, rows }: Twin<Row>) {
  return (
    // Focusable, because a wide table scrolls sideways on a phone and the keyboard must be able to do that too.
    <div class="table-scroll" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.title} scope="col" class={column.kind}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>{columns.map((column, at) => (at === 0 ? <RowName key={at} text={readCell(column, row)} /> : <Cell key={at} column={column} text={readCell(column, row)} />))}</tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function readCell<Row>(column: Column<Row>, row: Row): string {
  return column.show?.(row) ?? column.cell(row)
}

function RowName({ text }: { readonly text: string }) {
  return (
    <th scope="row">
      <bdi>{text}</bdi>
    </th>
  )
}

function Cell<Row>({ column, text }: { readonly column: Column<Row>; readonly text: string }) {
  const content: ComponentChildren = column.kind === 'name' ? <bdi>{text}</bdi> : text
  return <td class={column.kind}>{content}</td>
}
