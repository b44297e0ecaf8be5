-- Up Migration

-- The store's state: which epoch the speed layer writes, and which store this is. The incarnation goes into every name outside the database.
CREATE TABLE lake_state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  incarnation uuid NOT NULL DEFAULT gen_random_uuid(),
  epoch bigint NOT NULL DEFAULT 1 CHECK (epoch > 0),
  logic_version text,
  season_version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO lake_state DEFAULT VALUES;
COMMENT ON COLUMN lake_state.epoch IS 'The stretch of speed flushes between two cuts that is being written now.';
COMMENT ON COLUMN lake_state.logic_version IS 'Decode version and the settings it depends on; null until the first worker opens.';

-- One row per (topic, partition): where the speed layer stands, moved by compare-and-set in the transaction that adds the figures.
CREATE TABLE committed_offsets (
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL CHECK (partition BETWEEN 0 AND 65535),
  first_offset bigint NOT NULL,
  next_offset bigint NOT NULL CHECK (next_offset >= first_offset),
  last_offset bigint,
  last_checksum bigint,
  last_log_time_ms bigint,
  records bigint NOT NULL DEFAULT 0,
  accepted bigint NOT NULL DEFAULT 0,
  copies bigint NOT NULL DEFAULT 0,
  conflicts bigint NOT NULL DEFAULT 0,
  refused bigint NOT NULL DEFAULT 0,
  late bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
COMMENT ON COLUMN committed_offsets.next_offset IS 'Exclusive: every record below it is in the figures, a copy, or a dead letter.';
COMMENT ON COLUMN committed_offsets.last_checksum IS 'Of the last committed record''s bytes: a topic that was rebuilt holds another record there.';

-- One row per cut: the epoch it ended.
CREATE TABLE cuts (
  epoch bigint PRIMARY KEY,
  cut_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  logic_version text NOT NULL
);

-- One row per (cut, partition): the horizon.
CREATE TABLE cut_offsets (
  epoch bigint NOT NULL REFERENCES cuts,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  last_log_time_ms bigint,
  PRIMARY KEY (epoch, topic, partition)
);

-- One row per (epoch, topic, partition): how many ids the speed layer counted, and the sums of the two halves of their hashes.
CREATE TABLE live_counts (
  epoch bigint NOT NULL,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  events bigint NOT NULL,
  hash_hi_sum bigint NOT NULL,
  hash_lo_sum bigint NOT NULL,
  PRIMARY KEY (epoch, topic, partition)
) WITH (fillfactor = 50);

-- The ids counted, with their positions: one page per flush and partition, merged when small and old.
CREATE TABLE ledger_pages (
  page bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  epoch bigint NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint NOT NULL,
  ids integer NOT NULL,
  entries bytea NOT NULL,
  CHECK (octet_length(entries) = ids * 28)
);
ALTER TABLE ledger_pages ALTER COLUMN entries SET STORAGE EXTERNAL;
CREATE INDEX ledger_pages_by_partition ON ledger_pages (topic, partition, page);

-- What could not be accepted: reason, position, original bytes.
CREATE TABLE dead_letters (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  record_index integer NOT NULL,
  epoch bigint NOT NULL,
  reason text NOT NULL,
  detail text NOT NULL,
  log_time_ms bigint NOT NULL,
  first_partition integer,
  first_offset bigint,
  found_by text NOT NULL CHECK (found_by IN ('speed', 'batch')),
  headers text,
  bytes bytea NOT NULL,
  UNIQUE (topic, partition, log_offset, record_index)
);
COMMENT ON COLUMN dead_letters.first_offset IS 'For a conflict: where the copy stands that counts.';

-- Newest name of each product, by position. A label, no part of any key.
CREATE TABLE product_names (
  product_id text COLLATE "C" PRIMARY KEY,
  product_name text NOT NULL,
  epoch bigint NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  record_index integer NOT NULL
) WITH (fillfactor = 80);

-- The last hours by minute of event time, for the live line only; no part of the merge. A row per partition (the flush's first), so that two workers
-- do not wait for each other.
CREATE TABLE live_minutes (
  minute_ms bigint NOT NULL,
  currency text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  transactions bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL,
  PRIMARY KEY (minute_ms, currency, partition)
) WITH (fillfactor = 50);

-- Seasons: a season belongs to the year it starts in and lasts until the next one's first day.
CREATE TABLE seasons (
  version integer NOT NULL,
  name text NOT NULL,
  first_month integer NOT NULL CHECK (first_month BETWEEN 1 AND 12),
  first_day integer NOT NULL CHECK (first_day BETWEEN 1 AND 31),
  PRIMARY KEY (version, name),
  UNIQUE (version, first_month, first_day)
);
INSERT INTO seasons VALUES (1, 'spring', 3, 1), (1, 'summer', 6, 1), (1, 'autumn', 9, 1), (1, 'winter', 12, 1);

-- The archive's register: it alone decides what is read. Ranges of a partition tile [first, archive end).
CREATE TABLE archive_files (
  path text COLLATE "C" PRIMARY KEY,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint NOT NULL CHECK (to_offset > from_offset),
  epoch bigint NOT NULL,
  rows bigint NOT NULL CHECK (rows >= 0),
  accepted bigint NOT NULL,
  refused bigint NOT NULL,
  hash_hi_sum bigint NOT NULL,
  hash_lo_sum bigint NOT NULL,
  quantity_sum bigint NOT NULL,
  total_minor_sum numeric NOT NULL,
  months date[] NOT NULL,
  bytes bigint NOT NULL,
  sha256 text NOT NULL,
  first_log_time_ms bigint,
  last_log_time_ms bigint,
  registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (topic, partition, from_offset)
);
CREATE INDEX archive_files_by_epoch ON archive_files (epoch);

CREATE TABLE archive_ends (
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE archive_ends IS 'Moved by compare-and-set in the transaction that registers a file: of two archivers one wins.';

-- One row per batch run. Batch 0 is the empty batch below the first cut.
CREATE TABLE batches (
  batch bigint PRIMARY KEY,
  epoch bigint NOT NULL,
  base_batch bigint,
  kind text NOT NULL CHECK (kind IN ('empty', 'incremental', 'full')),
  status text NOT NULL CHECK (status IN ('running', 'held', 'published', 'superseded', 'dropped', 'failed', 'pruned')),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  published_at timestamptz,
  events_read bigint,
  events_counted bigint,
  message text,
  cross_check jsonb
);
CREATE SEQUENCE batch_numbers;
INSERT INTO batches (batch, epoch, kind, status, finished_at, published_at, events_read, events_counted)
  VALUES (0, 0, 'empty', 'published', clock_timestamp(), clock_timestamp(), 0, 0);

-- A batch is a map from (view, month) to a row version; unchanged months are shared between batches.
CREATE SEQUENCE row_versions;
CREATE TABLE batch_parts (
  batch bigint NOT NULL REFERENCES batches,
  view text COLLATE "C" NOT NULL,
  month date NOT NULL,
  version bigint NOT NULL,
  rows bigint NOT NULL,
  PRIMARY KEY (batch, view, month)
);

-- The pointer that readers follow: the batch's rows, plus live rows of epochs above `epoch`.
CREATE TABLE publish_pointer (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  batch bigint NOT NULL REFERENCES batches,
  epoch bigint NOT NULL,
  moves bigint NOT NULL DEFAULT 0,
  paused_reason text
);
INSERT INTO publish_pointer (batch, epoch) VALUES (0, 0);
COMMENT ON COLUMN publish_pointer.paused_reason IS 'A roll-back pauses publishing until a person resumes it.';

-- Events that a correction moved, with the rule that explains each: evidence, and what a later cross-check starts from.
CREATE TABLE correction_events (
  batch bigint NOT NULL REFERENCES batches,
  epoch bigint NOT NULL,
  reason text NOT NULL,
  sign integer NOT NULL CHECK (sign IN (-1, 1)),
  source text NOT NULL,
  event_id text NOT NULL,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  record_index integer NOT NULL,
  counted_epoch bigint NOT NULL,
  first_partition integer,
  first_offset bigint,
  PRIMARY KEY (batch, topic, partition, log_offset, record_index)
);
CREATE TABLE correction_counts (
  batch bigint NOT NULL REFERENCES batches,
  epoch bigint NOT NULL,
  counted_epoch bigint NOT NULL,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  events bigint NOT NULL,
  hash_hi_sum bigint NOT NULL,
  hash_lo_sum bigint NOT NULL,
  PRIMARY KEY (batch, counted_epoch, topic, partition)
);

-- Scheduled work by kind and period: the schedule only asks, this decides what was done.
CREATE TABLE job_runs (
  kind text NOT NULL,
  period text NOT NULL,
  outcome text NOT NULL,
  batch bigint,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (kind, period)
);

CREATE FUNCTION season_of(day date) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce(
    (SELECT to_char(day, 'YYYY') || '-' || s.name FROM seasons s, lake_state
      WHERE s.version = lake_state.season_version
        AND (s.first_month, s.first_day) <= (extract(month FROM day)::int, extract(day FROM day)::int)
      ORDER BY s.first_month DESC, s.first_day DESC LIMIT 1),
    (SELECT to_char(day - interval '1 year', 'YYYY') || '-' || s.name FROM seasons s, lake_state
      WHERE s.version = lake_state.season_version
      ORDER BY s.first_month DESC, s.first_day DESC LIMIT 1))
$$;

-- Running speed workers, for status and metrics; safety never depends on it.
CREATE TABLE speed_workers (
  worker text PRIMARY KEY,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  partitions integer[] NOT NULL DEFAULT '{}',
  ledger_ids bigint NOT NULL DEFAULT 0,
  flushes bigint NOT NULL DEFAULT 0,
  fenced_flushes bigint NOT NULL DEFAULT 0,
  failed_flushes bigint NOT NULL DEFAULT 0,
  skipped_replays bigint NOT NULL DEFAULT 0
);

-- Partitions that stopped because a range of their log is gone or was rebuilt. Receipts name them.
CREATE TABLE stopped_partitions (
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint,
  reason text NOT NULL,
  noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (topic, partition)
);
