-- one row per accepted event, new or old, with one of the ids asked for, a list of text literals
SELECT epoch, CAST(log_partition AS bigint) AS log_partition, log_offset, CAST(record_index AS bigint) AS record_index, source, event_id, kind,
  CAST(order_line AS bigint) AS order_line, product_id, category, city, quantity, total_minor, currency, local_day, CAST(local_hour AS bigint) AS local_hour,
  id_hash_hi, id_hash_lo, fields_checksum
FROM (
  SELECT * FROM new_events WHERE reason IS NULL
  UNION ALL
  SELECT * FROM old_events WHERE reason IS NULL
) events
WHERE event_id IN (:ids)
