-- one row per refused record and per event whose id counts elsewhere with other fields
SELECT CAST(log_partition AS bigint) AS log_partition, log_offset, CAST(record_index AS bigint) AS record_index, reason, event_id, source,
  CAST(first_partition AS bigint) AS first_partition, first_offset
FROM (
  SELECT log_partition, log_offset, record_index, 'conflict' AS reason, event_id, source, first_partition, first_offset
  FROM (
    SELECT log_partition, log_offset, record_index, event_id, source, fields_checksum,
      first_value(fields_checksum) OVER (PARTITION BY source, event_id ORDER BY epoch, log_partition, log_offset, record_index) AS first_checksum,
      first_value(log_partition) OVER (PARTITION BY source, event_id ORDER BY epoch, log_partition, log_offset, record_index) AS first_partition,
      first_value(log_offset) OVER (PARTITION BY source, event_id ORDER BY epoch, log_partition, log_offset, record_index) AS first_offset
    FROM new_events
    WHERE reason IS NULL
  ) copies
  WHERE fields_checksum <> first_checksum
  UNION ALL
  SELECT log_partition, log_offset, record_index, reason, NULL, NULL, NULL, NULL FROM new_events WHERE reason IS NOT NULL
) letters
ORDER BY log_partition, log_offset, record_index
