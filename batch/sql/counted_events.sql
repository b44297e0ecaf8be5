-- one row per event that counts among the new ones: the first copy of its id by (epoch, partition, offset, index)
SELECT n.epoch, n.log_partition, n.log_offset, n.record_index, n.source, n.event_id, n.kind, n.order_line, n.product_id, n.product_name,
  n.category, n.city, n.quantity, n.total_minor, n.currency, n.local_day, n.local_month, n.local_hour, n.id_hash_hi, n.id_hash_lo
FROM (
  SELECT epoch, log_partition, log_offset, record_index, source, event_id, kind, order_line, product_id, product_name,
    category, city, quantity, total_minor, currency, local_day, local_month, local_hour, id_hash_hi, id_hash_lo,
    row_number() OVER (PARTITION BY source, event_id ORDER BY epoch, log_partition, log_offset, record_index) AS copy_number
  FROM new_events
  WHERE reason IS NULL
) n
LEFT JOIN (
  SELECT DISTINCT f.source, f.event_id
  FROM old_events f
  JOIN (SELECT DISTINCT id_hash_hi, id_hash_lo FROM new_events WHERE reason IS NULL) h ON h.id_hash_hi = f.id_hash_hi AND h.id_hash_lo = f.id_hash_lo
  WHERE f.reason IS NULL
) o ON o.source = n.source AND o.event_id = n.event_id
WHERE n.copy_number = 1 AND o.event_id IS NULL
