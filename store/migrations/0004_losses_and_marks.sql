-- Up Migration

-- Ranges of the log that are gone and that a person gave up: reading goes on behind them, and every receipt names them.
CREATE TABLE accepted_losses (
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint NOT NULL CHECK (to_offset >= from_offset),
  what text NOT NULL CHECK (what IN ('gap', 'rebuilt', 'damaged')),
  events_counted bigint NOT NULL,
  accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  batch bigint REFERENCES batches,
  figures jsonb,
  PRIMARY KEY (topic, partition, from_offset, to_offset)
);
COMMENT ON TABLE accepted_losses IS 'An empty range says that the topic was made anew there: what it held beyond is not known.';
COMMENT ON COLUMN accepted_losses.events_counted IS 'Ids of the range that the speed layer had counted: the next batch takes them out of the figures.';
COMMENT ON COLUMN accepted_losses.figures IS 'What that batch took out, by currency; of all losses that it booked together.';

-- What the store adds to the log's offsets: a topic that was made anew begins at 0 again, and positions of the store never do.
CREATE TABLE log_bases (
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  base bigint NOT NULL CHECK (base > 0),
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (topic, partition)
);

ALTER TABLE stopped_partitions ADD COLUMN what text NOT NULL DEFAULT 'gap' CHECK (what IN ('gap', 'rebuilt', 'damaged'));

-- Ids that were counted in ranges that a person gave up, and count no more.
ALTER TABLE committed_offsets ADD COLUMN lost bigint NOT NULL DEFAULT 0;

-- The number of the newest mark in the lake. A lake whose mark is ahead says that the database was put back.
ALTER TABLE lake_state ADD COLUMN mark bigint NOT NULL DEFAULT 0;
