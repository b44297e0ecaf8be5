-- Up Migration

-- One row per move of the publish pointer, by a publication or a roll-back: which batch served at what time. Of two moves at one time the later counts.
CREATE TABLE pointer_moves (
  moves bigint PRIMARY KEY,
  batch bigint NOT NULL,
  epoch bigint NOT NULL,
  moved_at timestamptz NOT NULL
);
COMMENT ON COLUMN pointer_moves.moved_at IS 'When the batch was published, or rolled back to.';
-- Of what was there: every publication at its time. Roll-backs of then left no time, so the one that still stands is dated to this migration.
INSERT INTO pointer_moves (moves, batch, epoch, moved_at)
  SELECT row_number() OVER (ORDER BY published_at, batch) - 1, batch, epoch, published_at FROM batches WHERE published_at IS NOT NULL;
INSERT INTO pointer_moves (moves, batch, epoch, moved_at)
  SELECT x.moves, x.batch, x.epoch, clock_timestamp() FROM publish_pointer x
  WHERE x.batch <> (SELECT batch FROM pointer_moves ORDER BY moves DESC LIMIT 1);

-- What the speed layer had counted of each partition when the cut was made: what a receipt as of that batch says. Unknown of earlier cuts.
ALTER TABLE cut_offsets ADD COLUMN late bigint;
ALTER TABLE cut_offsets ADD COLUMN refused bigint;
ALTER TABLE cut_offsets ADD COLUMN copies bigint;
ALTER TABLE cut_offsets ADD COLUMN conflicts bigint;
