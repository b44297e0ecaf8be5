-- Up Migration

-- A registered range may be written again: by compaction, repair, new logic, or an erasure. Each writing is a generation.
ALTER TABLE archive_files ADD COLUMN generation integer NOT NULL DEFAULT 1 CHECK (generation > 0);

-- One row per swap of registered files for one that covers the same offsets.
CREATE TABLE archive_swaps (
  swap bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  reason text NOT NULL CHECK (reason IN ('compacted', 'repaired', 'redecoded', 'erased')),
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint NOT NULL,
  epoch bigint NOT NULL,
  generation integer NOT NULL,
  new_path text COLLATE "C" NOT NULL,
  old_files integer NOT NULL,
  old_rows bigint NOT NULL,
  old_bytes bigint NOT NULL,
  rows bigint NOT NULL,
  bytes bigint NOT NULL,
  sha256 text NOT NULL
);

-- The files that a swap replaced, for as long as the lake may hold them: readers that began before the swap still do.
CREATE TABLE swapped_files (
  path text COLLATE "C" PRIMARY KEY,
  swap bigint NOT NULL REFERENCES archive_swaps ON DELETE CASCADE,
  swapped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  rows bigint NOT NULL,
  bytes bigint NOT NULL,
  sha256 text NOT NULL
);
CREATE INDEX swapped_files_by_swap ON swapped_files (swap);
COMMENT ON COLUMN swapped_files.swapped_at IS 'The grace of the old file counts from here, since its own time is that of its writing.';

-- What the archive's runs came to, one row per kind: counters that only rise, and the newest run.
CREATE TABLE archive_totals (
  kind text COLLATE "C" PRIMARY KEY CHECK (kind IN ('committed', 'batch', 'compaction', 'repair')),
  runs bigint NOT NULL,
  files bigint NOT NULL,
  rows bigint NOT NULL,
  bytes bigint NOT NULL,
  duration_ms bigint NOT NULL,
  last_at timestamptz NOT NULL,
  last_files bigint NOT NULL,
  last_rows bigint NOT NULL,
  last_bytes bigint NOT NULL,
  last_duration_ms bigint NOT NULL
);
