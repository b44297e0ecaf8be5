-- one row per event that counts in the days asked for, from the whole archive: the first copy of its id by (epoch, partition, offset, index), wherever the
-- others stand. Only hashes are read of what lies outside the days.
SELECT c.epoch, c.log_partition, c.log_offset, c.record_index, c.log_time, c.source, c.event_id, c.kind, c.order_line, c.product_id, c.category, c.city, c.quantity, c.total_minor,
  c.currency, c.local_day, c.late
FROM (
  SELECT a.epoch, a.log_partition, a.log_offset, a.record_index, a.log_time, a.source, a.event_id, a.kind, a.order_line, a.product_id, a.category, a.city, a.quantity, a.total_minor,
    a.currency, a.local_day, a.late,
    row_number() OVER (PARTITION BY a.source, a.event_id ORDER BY a.epoch, a.log_partition, a.log_offset, a.record_index) AS copy_number
  FROM archive_events a
  JOIN (
    SELECT DISTINCT id_hash_hi, id_hash_lo FROM archive_events
    WHERE reason IS NULL AND local_day >= DATE ':from' AND local_day < DATE ':to' AND epoch > :after
  ) i ON i.id_hash_hi = a.id_hash_hi AND i.id_hash_lo = a.id_hash_lo
  WHERE a.reason IS NULL
) c
WHERE c.copy_number = 1 AND c.epoch > :after AND c.local_day >= DATE ':from' AND c.local_day < DATE ':to'
