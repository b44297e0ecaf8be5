/**
 * The real engines that tests may use: `npm test` starts them where Java and Maven are there (cli/checks.ts), and tells the tests by these variables.
 * What is not there is skipped, with the reason and the command that enables it.
 */
const variables = {
  kafka: 'TIDEMARK_TEST_KAFKA',
  hdfs: 'TIDEMARK_TEST_HDFS',
  hdfsRpc: 'TIDEMARK_TEST_HDFS_RPC',
  trino: 'TIDEMARK_TEST_TRINO',
  elasticsearch: 'TIDEMARK_TEST_ELASTICSEARCH',
  redis: 'TIDEMARK_TEST_REDIS',
} as const

export type TestEngine = keyof typeof variables

/** Where the engine is, or null: `host:port` of Kafka and HDFS (WebHDFS), a URL of the others. */
export function testEngine(name: TestEngine): string | null {
  return process.env[variables[name]] ?? null
}

/** For a title: says why the tests below it are skipped, and what enables them. */
export function whereMissing(...names: readonly TestEngine[]): string {
  const missing = names.filter((name) => testEngine(name) === null)
  return missing.length === 0 ? '' : ` (skipped: no ${missing.join(', ')} here; Java, Maven and redis-server let "npm test" start them)`
}
