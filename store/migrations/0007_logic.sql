-- Up Migration

-- The logic version (decode version, zone, currency) of a batch and of a file of the archive, and the batch that takes another one into use just now.
ALTER TABLE lake_state ADD COLUMN switching_batch bigint;
COMMENT ON COLUMN lake_state.switching_batch IS 'Made its last cut, and publishes figures of another logic version: until then no flush commits.';
ALTER TABLE batches ADD COLUMN logic_version text;
ALTER TABLE batches ADD COLUMN steps jsonb;
ALTER TABLE batches ADD COLUMN inputs jsonb;
COMMENT ON COLUMN batches.logic_version IS 'That its rows were made with; null of the empty batch.';
COMMENT ON COLUMN batches.steps IS 'Milliseconds by step.';
COMMENT ON COLUMN batches.inputs IS 'Files, rows and bytes by topic: new ones, and older ones that were looked through for copies.';
UPDATE batches b SET logic_version = c.logic_version FROM cuts c WHERE c.epoch = b.epoch;
ALTER TABLE archive_files ADD COLUMN logic_version text;
COMMENT ON COLUMN archive_files.logic_version IS 'That its columns were decoded with; null: the store''s own.';

-- Files that a batch decoded again: its publication puts them in the place of the registered ones. Until then they are no orphans.
CREATE TABLE pending_files (
  path text COLLATE "C" PRIMARY KEY,
  batch bigint NOT NULL REFERENCES batches ON DELETE CASCADE,
  replaces text COLLATE "C" NOT NULL,
  file jsonb NOT NULL
);
CREATE INDEX pending_files_by_batch ON pending_files (batch);

-- What a batch of another logic version will make of the ledger and of the dead letters, in the transaction that publishes it.
CREATE TABLE staged_pages (
  batch bigint NOT NULL REFERENCES batches ON DELETE CASCADE,
  place bigint NOT NULL,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  epoch bigint NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint NOT NULL,
  ids integer NOT NULL,
  entries bytea NOT NULL,
  PRIMARY KEY (batch, place)
);
ALTER TABLE staged_pages ALTER COLUMN entries SET STORAGE EXTERNAL;
CREATE TABLE staged_letters (
  batch bigint NOT NULL REFERENCES batches ON DELETE CASCADE,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  record_index integer NOT NULL,
  reason text,
  detail text,
  log_time_ms bigint,
  first_partition integer,
  first_offset bigint,
  headers text,
  bytes bytea,
  PRIMARY KEY (batch, topic, partition, log_offset, record_index)
);
COMMENT ON COLUMN staged_letters.reason IS 'Null: the position is a dead letter no more.';

-- Persons whose fields and bytes were blanked. Who they were is not kept.
CREATE TABLE erasures (
  erasure bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_sha256 text NOT NULL,
  began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  files bigint NOT NULL DEFAULT 0,
  records bigint NOT NULL DEFAULT 0,
  dead_letters bigint NOT NULL DEFAULT 0,
  references_removed bigint NOT NULL DEFAULT 0
);
