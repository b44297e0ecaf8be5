-- Up Migration

-- Rows carry the transaction that wrote them, so that a follower finds what changed. Transactions commit out of order: what lies below the oldest
-- running one is complete, and a follower's position never passes it. Rows of before have no number of their own: the first filling covers them.
ALTER TABLE live_revenue ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE live_revenue ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE correction_revenue ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE correction_revenue ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE live_product_sales ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE live_product_sales ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE correction_product_sales ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE correction_product_sales ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE live_product_city_sales ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE live_product_city_sales ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE correction_product_city_sales ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE correction_product_city_sales ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE live_pace ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE live_pace ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE correction_pace ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE correction_pace ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE live_runs ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE live_runs ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
ALTER TABLE correction_events ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE correction_events ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
COMMENT ON COLUMN live_revenue.xid IS 'Of the flush; of a merged row the highest.';
COMMENT ON COLUMN live_product_sales.xid IS 'Of the flush; of a merged row the highest.';
COMMENT ON COLUMN live_product_city_sales.xid IS 'Of the flush; of a merged row the highest.';
COMMENT ON COLUMN live_pace.xid IS 'Of the flush; of a merged row the highest.';

-- Followers feed something outside the database. One row each: its lock makes their readings an order, which their read numbers name.
CREATE TABLE search_followers (
  follower text PRIMARY KEY,
  incarnation uuid NOT NULL,
  system_identifier text NOT NULL,
  read_number bigint NOT NULL DEFAULT 0,
  position_xid xid8 NOT NULL,
  position_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  pointer_moves bigint NOT NULL,
  pointer_epoch bigint NOT NULL,
  months_resent bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN search_followers.read_number IS 'Of the newest reading: the version of the documents sent from it. Committed before they are.';
COMMENT ON COLUMN search_followers.position_xid IS 'What transactions below it wrote has been acknowledged. Transaction numbers mean nothing in another cluster, hence system_identifier.';
COMMENT ON COLUMN search_followers.months_resent IS 'Months whose documents differed from the figures, and were sent again.';

-- Indices of the follower. Changes go to every one that is building or serving; an alias names the serving one.
CREATE TABLE search_indices (
  index_name text COLLATE "C" PRIMARY KEY,
  kind text COLLATE "C" NOT NULL,
  incarnation uuid NOT NULL,
  generation integer NOT NULL,
  state text NOT NULL CHECK (state IN ('building', 'serving', 'retired')),
  made boolean NOT NULL DEFAULT false,
  months_due integer NOT NULL DEFAULT 0,
  corrections_xid xid8 NOT NULL DEFAULT '0',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  served_at timestamptz,
  UNIQUE (kind, incarnation, generation)
);
COMMENT ON COLUMN search_indices.kind IS 'A view, or sales: a family of one index a month, whose names begin with index_name.';
COMMENT ON COLUMN search_indices.made IS 'Said once it was created: one that is missing then was removed by somebody, and is built anew.';
COMMENT ON COLUMN search_indices.corrections_xid IS 'Of sales: corrections of transactions below it are in the documents.';

-- Months of an index to send whole: when it is built, and where it differs from the figures.
CREATE TABLE search_months_due (
  index_name text COLLATE "C" NOT NULL REFERENCES search_indices ON DELETE CASCADE,
  month date NOT NULL,
  reason text NOT NULL CHECK (reason IN ('build', 'pruned', 'differs')),
  PRIMARY KEY (index_name, month)
);

-- How far the log is in the documents of the sales, and which months there are.
CREATE TABLE search_sale_positions (
  index_name text COLLATE "C" NOT NULL REFERENCES search_indices ON DELETE CASCADE,
  topic text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  PRIMARY KEY (index_name, topic, partition)
);
CREATE TABLE search_sale_months (
  index_name text COLLATE "C" NOT NULL REFERENCES search_indices ON DELETE CASCADE,
  month date NOT NULL,
  PRIMARY KEY (index_name, month)
);

-- Documents that the index refused for good.
CREATE TABLE search_rejects (
  index_name text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  reason text NOT NULL,
  document text NOT NULL,
  rejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (index_name, id)
);
