-- Up Migration

-- The tables of each view (core/views/): live rows of each epoch, batch rows of each row version, correction rows, and the merged view that a BI tool
-- can read. Live rows are deltas: a flush appends, and what belongs together is summed by readers and merged in the background
-- (docs/decisions/0005). The period stands in front of the epoch: readers ask for days, of few epochs.

-- Rows of live tables per (view, epoch, period): appended by each flush, and one for what the last merge left. Says what is worth merging.
CREATE TABLE live_runs (
  view text COLLATE "C" NOT NULL,
  epoch bigint NOT NULL,
  period date NOT NULL,
  rows integer NOT NULL,
  merged boolean NOT NULL
);

CREATE TABLE live_revenue (
  epoch bigint NOT NULL,
  local_day date NOT NULL,
  city text COLLATE "C" NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX live_revenue_by_period ON live_revenue (local_day, epoch);

CREATE TABLE batch_revenue (
  version bigint NOT NULL,
  local_day date NOT NULL,
  city text COLLATE "C" NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL,
  PRIMARY KEY (version, local_day, city, category, currency)
);

CREATE TABLE correction_revenue (
  epoch bigint NOT NULL,
  batch bigint NOT NULL REFERENCES batches,
  reason text NOT NULL,
  local_day date NOT NULL,
  city text COLLATE "C" NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
);
CREATE INDEX correction_revenue_by_period ON correction_revenue (local_day, epoch);

CREATE VIEW merged_revenue AS
  SELECT local_day, city, category, currency,
    sum(transactions)::bigint AS transactions,
    sum(orders)::bigint AS orders,
    sum(refund_events)::bigint AS refund_events,
    sum(units_sold)::bigint AS units_sold,
    sum(units_refunded)::bigint AS units_refunded,
    sum(gross_minor)::bigint AS gross_minor,
    sum(refunds_minor)::bigint AS refunds_minor,
    (sum(gross_minor) - sum(refunds_minor))::bigint AS net_minor
  FROM (
    SELECT b.local_day, b.city, b.category, b.currency, b.transactions, b.orders, b.refund_events, b.units_sold, b.units_refunded, b.gross_minor, b.refunds_minor
      FROM publish_pointer x
      JOIN batch_parts p ON p.batch = x.batch AND p.view = 'revenue'
      JOIN batch_revenue b ON b.version = p.version
    UNION ALL
    SELECT l.local_day, l.city, l.category, l.currency, l.transactions, l.orders, l.refund_events, l.units_sold, l.units_refunded, l.gross_minor, l.refunds_minor
      FROM publish_pointer x JOIN live_revenue l ON l.epoch > x.epoch
    UNION ALL
    SELECT c.local_day, c.city, c.category, c.currency, c.transactions, c.orders, c.refund_events, c.units_sold, c.units_refunded, c.gross_minor, c.refunds_minor
      FROM publish_pointer x JOIN correction_revenue c ON c.epoch > x.epoch
  ) cells
  GROUP BY local_day, city, category, currency;
COMMENT ON VIEW merged_revenue IS 'Exact at every moment: the published batch below its horizon and the live rows above it, read in one snapshot. Amounts in minor units of the currency.';

CREATE TABLE live_product_sales (
  epoch bigint NOT NULL,
  local_day date NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX live_product_sales_by_period ON live_product_sales (local_day, epoch);

CREATE TABLE batch_product_sales (
  version bigint NOT NULL,
  local_day date NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL,
  PRIMARY KEY (version, local_day, product_id, category, currency)
);

CREATE TABLE correction_product_sales (
  epoch bigint NOT NULL,
  batch bigint NOT NULL REFERENCES batches,
  reason text NOT NULL,
  local_day date NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
);
CREATE INDEX correction_product_sales_by_period ON correction_product_sales (local_day, epoch);

CREATE VIEW merged_product_sales AS
  SELECT local_day, product_id, category, currency,
    sum(transactions)::bigint AS transactions,
    sum(orders)::bigint AS orders,
    sum(refund_events)::bigint AS refund_events,
    sum(units_sold)::bigint AS units_sold,
    sum(units_refunded)::bigint AS units_refunded,
    sum(gross_minor)::bigint AS gross_minor,
    sum(refunds_minor)::bigint AS refunds_minor,
    (sum(gross_minor) - sum(refunds_minor))::bigint AS net_minor
  FROM (
    SELECT b.local_day, b.product_id, b.category, b.currency, b.transactions, b.orders, b.refund_events, b.units_sold, b.units_refunded, b.gross_minor, b.refunds_minor
      FROM publish_pointer x
      JOIN batch_parts p ON p.batch = x.batch AND p.view = 'product_sales'
      JOIN batch_product_sales b ON b.version = p.version
    UNION ALL
    SELECT l.local_day, l.product_id, l.category, l.currency, l.transactions, l.orders, l.refund_events, l.units_sold, l.units_refunded, l.gross_minor, l.refunds_minor
      FROM publish_pointer x JOIN live_product_sales l ON l.epoch > x.epoch
    UNION ALL
    SELECT c.local_day, c.product_id, c.category, c.currency, c.transactions, c.orders, c.refund_events, c.units_sold, c.units_refunded, c.gross_minor, c.refunds_minor
      FROM publish_pointer x JOIN correction_product_sales c ON c.epoch > x.epoch
  ) cells
  GROUP BY local_day, product_id, category, currency;
COMMENT ON VIEW merged_product_sales IS 'Exact at every moment: the published batch below its horizon and the live rows above it, read in one snapshot. Amounts in minor units of the currency.';

CREATE TABLE live_product_city_sales (
  epoch bigint NOT NULL,
  local_month date NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  city text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX live_product_city_sales_by_period ON live_product_city_sales (local_month, epoch);

CREATE TABLE batch_product_city_sales (
  version bigint NOT NULL,
  local_month date NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  city text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL,
  PRIMARY KEY (version, local_month, product_id, city, currency)
);

CREATE TABLE correction_product_city_sales (
  epoch bigint NOT NULL,
  batch bigint NOT NULL REFERENCES batches,
  reason text NOT NULL,
  local_month date NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  city text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
);
CREATE INDEX correction_product_city_sales_by_period ON correction_product_city_sales (local_month, epoch);

CREATE VIEW merged_product_city_sales AS
  SELECT local_month, product_id, city, currency,
    sum(transactions)::bigint AS transactions,
    sum(orders)::bigint AS orders,
    sum(refund_events)::bigint AS refund_events,
    sum(units_sold)::bigint AS units_sold,
    sum(units_refunded)::bigint AS units_refunded,
    sum(gross_minor)::bigint AS gross_minor,
    sum(refunds_minor)::bigint AS refunds_minor,
    (sum(gross_minor) - sum(refunds_minor))::bigint AS net_minor
  FROM (
    SELECT b.local_month, b.product_id, b.city, b.currency, b.transactions, b.orders, b.refund_events, b.units_sold, b.units_refunded, b.gross_minor, b.refunds_minor
      FROM publish_pointer x
      JOIN batch_parts p ON p.batch = x.batch AND p.view = 'product_city_sales'
      JOIN batch_product_city_sales b ON b.version = p.version
    UNION ALL
    SELECT l.local_month, l.product_id, l.city, l.currency, l.transactions, l.orders, l.refund_events, l.units_sold, l.units_refunded, l.gross_minor, l.refunds_minor
      FROM publish_pointer x JOIN live_product_city_sales l ON l.epoch > x.epoch
    UNION ALL
    SELECT c.local_month, c.product_id, c.city, c.currency, c.transactions, c.orders, c.refund_events, c.units_sold, c.units_refunded, c.gross_minor, c.refunds_minor
      FROM publish_pointer x JOIN correction_product_city_sales c ON c.epoch > x.epoch
  ) cells
  GROUP BY local_month, product_id, city, currency;
COMMENT ON VIEW merged_product_city_sales IS 'Exact at every moment: the published batch below its horizon and the live rows above it, read in one snapshot. Amounts in minor units of the currency.';

CREATE TABLE live_pace (
  epoch bigint NOT NULL,
  local_day date NOT NULL,
  local_hour smallint NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX live_pace_by_period ON live_pace (local_day, epoch);

CREATE TABLE batch_pace (
  version bigint NOT NULL,
  local_day date NOT NULL,
  local_hour smallint NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL,
  PRIMARY KEY (version, local_day, local_hour, category, currency)
);

CREATE TABLE correction_pace (
  epoch bigint NOT NULL,
  batch bigint NOT NULL REFERENCES batches,
  reason text NOT NULL,
  local_day date NOT NULL,
  local_hour smallint NOT NULL,
  category text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  transactions bigint NOT NULL,
  orders bigint NOT NULL,
  refund_events bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_refunded bigint NOT NULL,
  gross_minor bigint NOT NULL,
  refunds_minor bigint NOT NULL
);
CREATE INDEX correction_pace_by_period ON correction_pace (local_day, epoch);

CREATE VIEW merged_pace AS
  SELECT local_day, local_hour, category, currency,
    sum(transactions)::bigint AS transactions,
    sum(orders)::bigint AS orders,
    sum(refund_events)::bigint AS refund_events,
    sum(units_sold)::bigint AS units_sold,
    sum(units_refunded)::bigint AS units_refunded,
    sum(gross_minor)::bigint AS gross_minor,
    sum(refunds_minor)::bigint AS refunds_minor,
    (sum(gross_minor) - sum(refunds_minor))::bigint AS net_minor
  FROM (
    SELECT b.local_day, b.local_hour, b.category, b.currency, b.transactions, b.orders, b.refund_events, b.units_sold, b.units_refunded, b.gross_minor, b.refunds_minor
      FROM publish_pointer x
      JOIN batch_parts p ON p.batch = x.batch AND p.view = 'pace'
      JOIN batch_pace b ON b.version = p.version
    UNION ALL
    SELECT l.local_day, l.local_hour, l.category, l.currency, l.transactions, l.orders, l.refund_events, l.units_sold, l.units_refunded, l.gross_minor, l.refunds_minor
      FROM publish_pointer x JOIN live_pace l ON l.epoch > x.epoch
    UNION ALL
    SELECT c.local_day, c.local_hour, c.category, c.currency, c.transactions, c.orders, c.refund_events, c.units_sold, c.units_refunded, c.gross_minor, c.refunds_minor
      FROM publish_pointer x JOIN correction_pace c ON c.epoch > x.epoch
  ) cells
  GROUP BY local_day, local_hour, category, currency;
COMMENT ON VIEW merged_pace IS 'Exact at every moment: the published batch below its horizon and the live rows above it, read in one snapshot. Amounts in minor units of the currency.';
