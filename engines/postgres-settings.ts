import { ConfigError } from '#core/errors.ts'

export type PostgresSettings = Readonly<Record<string, string>>

/** What Tidemark's own server runs with, beside PostgreSQL's defaults. Values in PostgreSQL's own units. */
export const POSTGRES_SETTINGS: PostgresSettings = {
  // Only this machine, only with the password; no socket files, whose paths may be no longer than 107 bytes.
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '60',
  // The hot tables of a large shop fit; a laptop does not notice.
  shared_buffers: '128MB',
  work_mem: '16MB',
  maintenance_work_mem: '64MB',
  // What is said to be committed survives the plug being pulled. Speed flushes relax synchronous_commit for themselves.
  fsync: 'on',
  synchronous_commit: 'on',
  max_wal_size: '1GB',
  min_wal_size: '128MB',
  wal_compression: 'on',
  // A worker that was stopped must not hold the others up (DESIGN.md, section 2).
  idle_in_transaction_session_timeout: '10s',
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
  // Statements and lock waits of a killed process end with it, not minutes later.
  client_connection_check_interval: '2s',
  // Short statements: compiling them, counting them and handing them to helpers costs more than running them. Parallel workers
  // also need /dev/shm, of which a container has 64 MB.
  jit: 'off',
  compute_query_id: 'off',
  max_parallel_workers_per_gather: '0',
  // Small tables whose rows are updated every 250 ms: clean up often, little at a time.
  autovacuum_naptime: '10s',
  autovacuum_vacuum_threshold: '200',
  autovacuum_vacuum_scale_factor: '0.05',
  autovacuum_vacuum_cost_limit: '1000',
  random_page_cost: '1.1',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  log_checkpoints: 'off',
  // Statements hold what customers bought: they never go to the log.
  log_min_error_statement: 'panic',
  log_parameter_max_length_on_error: '0',
}

/** Settings as arguments of the server, `-c name=value`. Throws ConfigError for what cannot be the name of a setting. */
export function settingArguments(settings: PostgresSettings): readonly string[] {
  return Object.entries({ ...POSTGRES_SETTINGS, ...settings }).flatMap(([name, value]) => {
    if (!/^[a-z_][a-z0-9_.]*$/.test(name)) throw new ConfigError(`\`${name}\` is not the name of a PostgreSQL setting.`, { name })
    return ['-c', `${name}=${value}`]
  })
}
