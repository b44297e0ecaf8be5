-- one row per (local_day, local_hour, category, currency)
SELECT local_day, local_hour, category, currency,
  CAST(sum(CASE WHEN kind = 'sale' THEN 1 ELSE 0 END) AS bigint) AS transactions,
  CAST(sum(CASE WHEN kind = 'sale' AND order_line = 1 THEN 1 ELSE 0 END) AS bigint) AS orders,
  CAST(sum(CASE WHEN kind = 'refund' THEN 1 ELSE 0 END) AS bigint) AS refund_events,
  CAST(sum(CASE WHEN kind = 'sale' THEN quantity ELSE 0 END) AS bigint) AS units_sold,
  CAST(sum(CASE WHEN kind = 'refund' THEN quantity ELSE 0 END) AS bigint) AS units_refunded,
  CAST(sum(CASE WHEN kind = 'sale' THEN total_minor ELSE 0 END) AS bigint) AS gross_minor,
  CAST(sum(CASE WHEN kind = 'refund' THEN total_minor ELSE 0 END) AS bigint) AS refunds_minor
FROM counted_events
GROUP BY local_day, local_hour, category, currency
