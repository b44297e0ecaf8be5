import { useMemo, useRef } from 'preact/hooks'
import { Announcer } from './announcer.tsx'
import { Problem, type PaceRow, type ReportRow, type RestatementRow, type RevenueRow, type Status } from './api.ts'
import { EmptyShop, Loading, Unreachable } from './blank-states.tsx'
import { Minutes } from './cards/minutes.tsx'
import { Pace, paceWeeks } from './cards/pace.tsx'
import { ReceiptCard } from './cards/receipt-card.tsx'
import { Reports, reportsPath } from './cards/reports.tsx'
import { Restatements, restatementsPath } from './cards/restatements.tsx'
import { RevenueByMonth, monthsDefault, readMonths } from './cards/revenue-by-month.tsx'
import { RevenueBy } from './cards/revenue-by.tsx'
import { TopProducts } from './cards/top-products.tsx'
import { Total } from './cards/total.tsx'
import { addDays, addMonths, type Figures } from './figures.ts'
import { formatMoney, formatTime } from './format.ts'
import { Header } from './header.tsx'
import type { LiveState } from './live/feed.ts'
import { useAnswer } from './live/use-answer.ts'
import { useTidemark } from './live/use-tidemark.ts'
import { Notices } from './notices.tsx'
import { PageContext, type PageState } from './page-context.ts'
import { useTheme } from './use-theme.ts'
import { useUrlParam } from './use-url-param.ts'

export function App() {
  const [{ live, figures, status, clockSkewMs }, controls] = useTidemark()
  const [theme, toggleTheme] = useTheme()
  const [askedCurrency, setCurrency] = useUrlParam('currency', '')
  const [monthsText, setMonths] = useUrlParam('months', monthsDefault)
  const months = readMonths(monthsText)
  const notLive = status === null ? null : describeNotLive(live, status, clockSkewMs)
  const firstVersion = useRef<string | null>(null)
  firstVersion.current ??= status?.version ?? null

  // A new batch, or a shop restored from a backup, restates history.
  const version = figures === null ? '' : `${figures.receipt.incarnation} ${figures.receipt.batch.id}`
  const history = useAnswer<RevenueRow>(historyPath(status, months), version, live.kind !== 'live')
  const weekAgo = useAnswer<RevenueRow>(weekAgoPath(status), version, live.kind !== 'live')
  const pace = useAnswer<PaceRow>(pacePath(status), version, live.kind !== 'live')
  const reports = useAnswer<ReportRow>(status === null ? null : reportsPath, version, live.kind !== 'live')
  const restatements = useAnswer<RestatementRow>(status === null ? null : restatementsPath, version, live.kind !== 'live')

  const currencies = listCurrencies(status, figures, history)
  const currency = currencies.includes(askedCurrency) ? askedCurrency : (status?.currency ?? '')
  const page = useMemo<PageState>(
    () => ({ currency, zone: status?.zone ?? 'UTC', today: status?.today ?? '', notLive, colours: `${theme} ${notLive === null}` }),
    [currency, status?.zone, status?.today, notLive, theme],
  )

  return (
    <PageContext.Provider value={page}>
      <a class="skip-link" href="#figures">
        Skip to the figures
      </a>
      <Header
        live={live}
        status={status}
        receipt={figures?.receipt ?? null}
        clockSkewMs={clockSkewMs}
        onPause={controls.pause}
        onResume={controls.connect}
        theme={theme}
        onTheme={toggleTheme}
        currency={currency}
        currencies={currencies}
        onCurrency={setCurrency}
      />
      <main id="figures" tabIndex={-1} data-live={notLive === null}>
        {status !== null && figures !== null && (
          <Notices live={live} status={status} receipt={figures.receipt} clockSkewMs={clockSkewMs} firstVersion={firstVersion.current ?? status.version} onConnect={controls.connect} />
        )}
        {figures === null && (live.kind === 'lost' ? <Unreachable reason={live.reason} onConnect={controls.connect} /> : <Loading />)}
        {figures !== null && figures.receipt.asOf === null && <EmptyShop />}
        {figures !== null && figures.receipt.asOf !== null && (
          <div class="cards">
            <Total rows={figures.total} weekAgo={weekAgo} />
            <ReceiptCard receipt={figures.receipt} />
            <Minutes piece={figures.minutes} asOfMs={Date.parse(figures.receipt.asOf)} />
            <RevenueBy by="city" piece={figures.byCity} />
            <RevenueBy by="category" piece={figures.byCategory} />
            <div class="card-trio">
              <TopProducts period="day" piece={figures.topOfDay} />
              <TopProducts period="month" piece={figures.topOfMonth} />
              <TopProducts period="season" piece={figures.topOfSeason} />
            </div>
            <RevenueByMonth piece={history} months={months} onMonths={setMonths} />
            <Pace piece={pace} />
            <Reports piece={reports} />
            <Restatements piece={restatements} />
          </div>
        )}
      </main>
      <footer class="page-foot">
        {status !== null && (
          <p>
            Tidemark {status.version}. Times and days are those of {status.zone}. Amounts in different currencies are never added.
          </p>
        )}
        <p>
          <a href="/openapi.json">The API that answers these figures</a>
        </p>
      </footer>
      <Announcer message={describeForEars(live, status, figures, currency, notLive)} />
    </PageContext.Provider>
  )
}

function describeNotLive(live: LiveState, status: Status, clockSkewMs: number): string | null {
  if (live.kind === 'live') return null
  if (live.kind === 'connecting') return 'Not live yet: connecting'
  const since = formatTime(live.sinceMs + clockSkewMs, status.zone)
  return live.kind === 'paused' ? `Paused: not live since ${since}` : `Not live since ${since}`
}

function describeForEars(live: LiveState, status: Status | null, figures: Figures | null, currency: string, notLive: string | null): string {
  if (status === null || figures === null) return live.kind === 'lost' ? `No figures to show. ${live.reason}` : ''
  if (notLive !== null) return live.kind === 'connecting' ? '' : `${notLive}.`
  const net = figures.total.find((row) => row.currency === currency)?.net
  const asOf = figures.receipt.asOf
  if (asOf === null) return 'The shop is empty.'
  return `Net revenue today ${net === undefined ? 'is zero' : formatMoney(net, currency)}, as of ${formatTime(Date.parse(asOf), status.zone)}.`
}

/** Ends with the month of today; the end is exclusive. */
function historyPath(status: Status | null, months: number): string | null {
  return status === null ? null : `/v1/revenue?from=${addMonths(status.today, 1 - months)}&to=${addMonths(status.today, 1)}&by=month`
}

/** The same weekday: a Saturday says little about a Friday. */
function weekAgoPath(status: Status | null): string | null {
  return status === null ? null : `/v1/revenue?from=${addDays(status.today, -7)}&to=${addDays(status.today, -6)}`
}

/** Whole weeks up to yesterday, so that every weekday is in it equally often. */
function pacePath(status: Status | null): string | null {
  return status === null ? null : `/v1/pace?from=${addDays(status.today, -7 * paceWeeks)}&to=${status.today}`
}

/** The shop's own first, then those that were met, in order. */
function listCurrencies(status: Status | null, figures: Figures | null, history: ReturnType<typeof useAnswer<RevenueRow>>): string[] {
  const met = new Set([...(figures?.total ?? []), ...(history === null || history instanceof Problem ? [] : history)].map((row) => row.currency))
  if (status !== null) met.delete(status.currency)
  return [...(status === null ? [] : [status.currency]), ...[...met].toSorted()]
}
