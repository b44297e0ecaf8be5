-- one row per product: its name on the newest sale by position among the new events
SELECT product_id, product_name, epoch, CAST(log_partition AS bigint) AS log_partition, log_offset, CAST(record_index AS bigint) AS record_index
FROM (
  SELECT product_id, product_name, epoch, log_partition, log_offset, record_index,
    row_number() OVER (PARTITION BY product_id ORDER BY epoch DESC, log_partition DESC, log_offset DESC, record_index DESC) AS newest
  FROM counted_events
  WHERE kind = 'sale'
) named
WHERE newest = 1
