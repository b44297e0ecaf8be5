import type { Command } from 'commander'
import type { Figures, Receipt } from '#core/receipt.ts'
import { readProductsRequest, readRevenueRequest } from '#serving/parameters.ts'
import { renderProducts, renderRevenue } from '#serving/render.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { count, print, printTable } from '../output.ts'

const figureTitles = ['currency', 'transactions', 'units', 'gross', 'refunds', 'net']

export function addQuery(program: Command): void {
  const query = program
    .command('query')
    .description('ask the merged views, as the API would')
    .addHelpText('after', '\nExamples:\n  ./tidemark query revenue --by city,category --from 2024-12-01 --to 2025-01-01\n  ./tidemark query top --n 5 --by units --month 2024-12 --json')
  withCommonOptions(query.command('revenue'))
    .description('revenue by day, month, season, year, city, category')
    .option('--by <keys>', 'comma-separated: day, month, season, year, city, category')
    .option('--from <day>', 'first day')
    .option('--to <day>', 'the day after the last')
    .option('--city <name>')
    .option('--category <name>')
    .option('--currency <code>')
    .option('--as-of-batch <number>', 'as this batch was published, with nothing above its horizon')
    .option('--as-of <time>', 'as the batch that served then: 2025-01-02T03:04:05Z')
    .addHelpText('after', '\nExample:\n  ./tidemark query revenue --by city,category --from 2024-12-01 --to 2025-01-01\n  ./tidemark query revenue --by month --as-of 2025-01-02T06:00:00Z')
    .action(async (options: CommonOptions & Record<string, string>) => {
      await onEnvironment(options, 'query', async ({ database, settings }) => {
        const request = readRevenueRequest(parametersOf(options))
        const answer = await answerRevenue(database.pool, request, { ledgerIdsMax: settings.ledgerIdsMax })
        if (options.json) return print(renderRevenue(answer))
        const keys = request.by
        printTable([...keys, ...figureTitles], answer.rows.map((row) => [...keys.map((key) => row[key] ?? ''), ...figures(row)]), keys.length + 1)
        printReceipt(answer.receipt)
      })
    })
  withCommonOptions(query.command('top'))
    .description('the best products of a day, month, season, year or range')
    .option('--n <n>', 'how many (default: 5)')
    .option('--by <measure>', 'units, net, gross or transactions (default: units)')
    .option('--day <day>')
    .option('--month <month>')
    .option('--season <season>', 'such as 2024-winter')
    .option('--year <year>')
    .option('--from <day>')
    .option('--to <day>')
    .option('--city <name>')
    .option('--category <name>')
    .option('--currency <code>')
    .option('--as-of-batch <number>', 'as this batch was published, with nothing above its horizon')
    .option('--as-of <time>', 'as the batch that served then: 2025-01-02T03:04:05Z')
    .addHelpText('after', '\nExample:\n  ./tidemark query top --n 5 --by units --day 2024-12-30')
    .action(async (options: CommonOptions & Record<string, string>) => {
      await onEnvironment(options, 'query', async ({ database, settings }) => {
        const answer = await answerTopProducts(database.pool, readProductsRequest(parametersOf(options)), { ledgerIdsMax: settings.ledgerIdsMax })
        if (options.json) return print(renderProducts(answer))
        printTable(['rank', 'product', 'name', ...figureTitles], answer.rows.map((row) => [String(row.rank), row.productId, row.productName, ...figures(row)]), 4)
        printReceipt(answer.receipt)
      })
    })
}

/** The options of this command as the API's parameters; what all commands share is none. */
function parametersOf(options: CommonOptions & Record<string, string>): Record<string, string> {
  const { data: _data, json: _json, quiet: _quiet, ...parameters } = options
  return parameters
}

function figures(row: Figures): string[] {
  return [row.currency, count(row.transactions), count(row.unitsSold), row.gross, row.refunds, row.net]
}

function printReceipt(receipt: Receipt): void {
  const { batch, fromBatch, fromSpeed, crossCheck, missing, acceptedLosses } = receipt
  if (receipt.asOfBatch !== undefined) print(`\nbatch ${batch.id} alone${batch.publishedAt === null ? '' : `, published ${batch.publishedAt}`}; what came after its horizon is not in these figures`)
  print(`\nas of ${receipt.asOf ?? 'nothing yet'} · ${count(fromBatch.events)} events from batch ${batch.id}, ${count(fromSpeed.events)} from the speed layer · last cross-check: ${crossCheck.result}`)
  print(`${count(receipt.lateEvents)} late, ${count(receipt.refusedEvents)} refused, ${count(receipt.copies)} copies, ${count(receipt.conflicts)} conflicts · ${receipt.complete ? 'complete' : 'NOT COMPLETE'}`)
  for (const range of missing) print(`missing: ${range.topic} ${range.partition} from ${range.from}${range.to === null ? '' : ` to ${range.to}`}: ${range.reason}`)
  for (const loss of acceptedLosses) print(`given up: ${loss.topic} ${loss.partition} from ${loss.from} to ${loss.to} (${loss.what}), of which ${count(loss.eventsCounted)} events had been counted`)
}
