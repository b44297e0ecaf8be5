-- The embedded event log: append-only tables in a schema of their own, because Kafka takes their place in a cluster.
-- Unqualified names: every session of the log has this schema alone on its search path.

CREATE TABLE topics (
  topic_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);

-- One row per (topic, partition): its kept offsets [first_offset, next_offset) and the newest log time, UTC epoch ms.
-- An append holds the row's lock until it commits, so offsets become visible in order. lease_id names the partition in
-- advisory locks.
CREATE TABLE partitions (
  topic_id integer NOT NULL REFERENCES topics,
  partition integer NOT NULL CHECK (partition >= 0),
  lease_id integer GENERATED ALWAYS AS IDENTITY UNIQUE,
  first_offset bigint NOT NULL DEFAULT 0,
  next_offset bigint NOT NULL DEFAULT 0,
  last_log_time_ms bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (topic_id, partition),
  CHECK (first_offset <= next_offset)
) WITH (fillfactor = 50); -- Rewritten by every append: room on the page keeps that a heap-only update.

-- One row per (topic, partition, stored batch): the records at offsets [base_offset, next_offset), without gaps.
-- The key ends in next_offset, so that the batch holding an offset is found by one index descent.
CREATE TABLE batches (
  topic_id integer NOT NULL,
  partition integer NOT NULL,
  base_offset bigint NOT NULL,
  next_offset bigint NOT NULL,
  base_log_time_ms bigint NOT NULL,
  last_log_time_ms bigint NOT NULL,
  records_bytes integer NOT NULL,
  records bytea NOT NULL,
  PRIMARY KEY (topic_id, partition, next_offset),
  FOREIGN KEY (topic_id, partition) REFERENCES partitions,
  CHECK (base_offset < next_offset AND base_log_time_ms <= last_log_time_ms)
);
-- No attempt to compress: it would cost more than reading does.
ALTER TABLE batches ALTER COLUMN records SET STORAGE EXTERNAL;

-- One row per (topic, session that reads it), with the database's time of its last sign of life. Unlogged: after a crash of the
-- server no session is left.
CREATE UNLOGGED TABLE members (
  topic_id integer NOT NULL,
  pid integer NOT NULL,
  backend_start timestamptz NOT NULL,
  heartbeat_at timestamptz NOT NULL,
  PRIMARY KEY (topic_id, pid)
) WITH (fillfactor = 50);
