// What `npm start`, `npm test` and `./tidemark` run first, on whatever Node is there: it installs what is missing and hands over to
// the Node that Tidemark is written for. Up to the check of the version only what old versions of Node can read stands here.
import { realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 20
const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** First argument → the program it stands for; anything else is a command of `main.ts`. */
const PROGRAMS = { '--checks': 'cli/checks.ts', '--bench': 'bench/main.ts', '--mutants': 'test/mutants/main.ts' }
/**
 * A small nursery: most garbage here is young, and memory is what a laptop has least of (bench/memory.ts). The warning is kafkajs's, at each connection
 * on Node 24, and means nothing.
 */
export const NODE_FLAGS = ['--max-semi-space-size=8', '--disable-warning=TimeoutNegativeWarning']
/** What shows the web page, or tests it, needs its bundle. */
const NEEDS_DASHBOARD = ['up', 'serve', '--checks']

/** The program and its arguments that `args` ask for, relative to the repository. */
export function routeOf(args) {
  const program = PROGRAMS[args[0]]
  return program === undefined ? { program: 'cli/main.ts', args } : { program, args: args.slice(1) }
}

export function needsDashboard(args) {
  return args.some((argument) => NEEDS_DASHBOARD.includes(argument))
}

/** What is wrong with this version of Node, or undefined. */
export function complaintAbout(version) {
  if (Number(version.split('.')[0]) >= NODE_MAJOR_MIN) return undefined
  return `Tidemark needs Node.js ${NODE_MAJOR_MIN} or newer to install itself; this is ${version}. Get a current one from https://nodejs.org/`
}

async function main(args) {
  const { prepare } = await import('./install.mjs')
  const isOnlyPreparing = args[0] === '--prepare'
  const wanted = isOnlyPreparing ? args.slice(1) : args
  const node = await prepare(root, needsDashboard(wanted))
  if (isOnlyPreparing) return 0
  const route = routeOf(wanted)
  const { runInPlace } = await import('./run-in-place.mjs')
  return runInPlace(node, [...NODE_FLAGS, join(root, route.program), ...route.args])
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  const complaint = complaintAbout(process.versions.node)
  if (complaint !== undefined) {
    console.error(complaint)
    process.exitCode = 1
  } else {
    main(process.argv.slice(2)).then(
      (code) => (process.exitCode = code),
      (error) => {
        console.error(error.isExplained === true ? error.message : error)
        process.exitCode = 1
      },
    )
  }
}
