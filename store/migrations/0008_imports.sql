-- Up Migration

-- History from before the log: each import is a partition of its own of the same law, numbered downward from the highest, and a source of its own ids.
CREATE TABLE imports (
  name text COLLATE "C" PRIMARY KEY,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL CHECK (partition BETWEEN 0 AND 65535),
  source text COLLATE "C" NOT NULL,
  log_time_ms bigint NOT NULL,
  files jsonb NOT NULL DEFAULT '[]',
  content_sha256 text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  UNIQUE (topic, partition)
);
COMMENT ON COLUMN imports.log_time_ms IS 'Of every line: fixed when the import began, so that a re-run decodes alike.';
COMMENT ON COLUMN imports.files IS 'In order: name, bytes, and its lines as offsets of the partition, from inclusive to exclusive.';
COMMENT ON COLUMN imports.content_sha256 IS 'Of all lines below the committed offset, each with a line feed: a re-run must bring the same.';

-- The newest record of each id of the topics users and products, by log time, then partition and offset.
CREATE TABLE reference_users (
  user_id text COLLATE "C" PRIMARY KEY,
  name text,
  email text,
  city text,
  log_time_ms bigint NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE reference_products (
  product_id text COLLATE "C" PRIMARY KEY,
  name text NOT NULL,
  category text,
  brand text,
  log_time_ms bigint NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE reference_products IS 'Labels for people: no part of any key, and no figure depends on it.';

-- Dead letters that a person sent again, edited or not: one row per letter and content. Letters are named by position, which outlives their number.
CREATE TABLE resubmitted_letters (
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  record_index integer NOT NULL,
  value_sha256 text NOT NULL,
  began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  appended_at timestamptz,
  PRIMARY KEY (topic, partition, log_offset, record_index, value_sha256)
);
COMMENT ON COLUMN resubmitted_letters.appended_at IS 'Null: it is not known whether the log has it. Sending it again is harmless, for a copy of an id counts once.';
CREATE INDEX dead_letters_by_reason ON dead_letters (reason, id);
