-- Up Migration

-- The run ledger: a row for each kind and period of scheduled work. Whoever works on it holds its claim: a number whose advisory lock goes with the
-- worker's connection, and a lease, for a worker that was stopped keeps its connection.
CREATE SEQUENCE job_claims;
ALTER TABLE job_runs ALTER COLUMN finished_at DROP NOT NULL;
ALTER TABLE job_runs ALTER COLUMN finished_at DROP DEFAULT;
ALTER TABLE job_runs ADD COLUMN attempts integer NOT NULL DEFAULT 1;
ALTER TABLE job_runs ADD COLUMN claim bigint;
ALTER TABLE job_runs ADD COLUMN lease_until timestamptz;
ALTER TABLE job_runs ADD COLUMN retry_at timestamptz;
ALTER TABLE job_runs ADD COLUMN last_error text;
ALTER TABLE job_runs ADD COLUMN version integer;
COMMENT ON COLUMN job_runs.outcome IS 'running, failed, or what came of it.';
COMMENT ON COLUMN job_runs.finished_at IS 'Null while it runs.';
COMMENT ON COLUMN job_runs.retry_at IS 'Of a failed run: when it may be tried again; null where only a person can mend it.';
COMMENT ON COLUMN job_runs.last_error IS 'Of the newest attempt that failed, kept when a later one succeeds.';
COMMENT ON COLUMN job_runs.version IS 'Of the report that the run published, or that held already; null for other work.';

-- Where the log ended at a moment. A closed period is due once a published batch has passed the first of these after the period's end and the grace.
CREATE TABLE log_ends (
  topic text COLLATE "C" NOT NULL,
  recorded_at timestamptz NOT NULL,
  ends jsonb NOT NULL,
  PRIMARY KEY (topic, recorded_at)
);
COMMENT ON COLUMN log_ends.recorded_at IS 'By the database''s clock, never by an event''s.';
COMMENT ON COLUMN log_ends.ends IS 'Partition to next offset, as the store counts them.';
