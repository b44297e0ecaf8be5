-- Up Migration

-- Frozen reports: one row per version, never changed. The document is the report as JSON text, byte for byte as it was published.
CREATE TABLE report_versions (
  kind text COLLATE "C" NOT NULL CHECK (kind IN ('monthly', 'quarterly', 'seasonal', 'yearly')),
  period text COLLATE "C" NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  from_day date NOT NULL,
  to_day date NOT NULL CHECK (to_day > from_day),
  batch bigint NOT NULL,
  epoch bigint NOT NULL,
  seasons_version integer NOT NULL,
  fingerprint text NOT NULL,
  row_versions text NOT NULL,
  restates_events bigint,
  document text NOT NULL,
  published_at timestamptz NOT NULL,
  PRIMARY KEY (kind, period, version)
);
COMMENT ON COLUMN report_versions.fingerprint IS 'Of every row of the period in the views that a report is made of: another fingerprint, another version.';
COMMENT ON COLUMN report_versions.row_versions IS 'The batch''s map of row versions for the period''s months: while it is the same nothing can have changed.';
COMMENT ON COLUMN report_versions.restates_events IS 'How many events explain the difference to the version before; null for a first version.';

-- The files of each version in the lake.
CREATE TABLE report_files (
  kind text COLLATE "C" NOT NULL,
  period text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  format text COLLATE "C" NOT NULL CHECK (format IN ('html', 'csv', 'json', 'parquet', 'restatement')),
  path text COLLATE "C" NOT NULL UNIQUE,
  bytes bigint NOT NULL,
  sha256 text NOT NULL,
  PRIMARY KEY (kind, period, version, format)
);

-- Every event that explains the difference of a version to the one before.
CREATE TABLE restatement_events (
  kind text COLLATE "C" NOT NULL,
  period text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  entry bigint NOT NULL,
  reason text NOT NULL,
  source text NOT NULL,
  event_id text NOT NULL,
  event_kind text NOT NULL,
  local_day date NOT NULL,
  log_time_ms bigint NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  record_index integer NOT NULL,
  city text NOT NULL,
  category text NOT NULL,
  product_id text NOT NULL,
  quantity bigint NOT NULL,
  total_minor bigint NOT NULL,
  currency text NOT NULL,
  PRIMARY KEY (kind, period, version, entry)
);

-- One row per version, channel and target: each delivery is made once.
CREATE TABLE report_deliveries (
  kind text COLLATE "C" NOT NULL,
  period text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  channel text COLLATE "C" NOT NULL CHECK (channel IN ('mail', 'webhook')),
  target text COLLATE "C" NOT NULL,
  status text NOT NULL CHECK (status IN ('waiting', 'sent', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  last_error text,
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  sent_at timestamptz,
  PRIMARY KEY (kind, period, version, channel, target)
);
COMMENT ON COLUMN report_deliveries.target IS 'A mail address, or the webhook''s origin and a digest of its address: the address itself may be a secret.';
