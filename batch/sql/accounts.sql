-- one row per partition of the new events: records refused, and accepted events by what they are, the first copy of an id counting
SELECT CAST(log_partition AS bigint) AS log_partition, CAST(sum(refused) AS bigint) AS refused, CAST(sum(counted) AS bigint) AS accepted,
  CAST(sum(copies) AS bigint) AS copies, CAST(sum(conflicts) AS bigint) AS conflicts, CAST(sum(late_ones) AS bigint) AS late_ones
FROM (
  SELECT log_partition, 0 AS refused,
    CASE WHEN copy_number = 1 THEN 1 ELSE 0 END AS counted,
    CASE WHEN copy_number > 1 AND fields_checksum = first_checksum THEN 1 ELSE 0 END AS copies,
    CASE WHEN copy_number > 1 AND fields_checksum <> first_checksum THEN 1 ELSE 0 END AS conflicts,
    CASE WHEN copy_number = 1 AND late THEN 1 ELSE 0 END AS late_ones
  FROM (
    SELECT log_partition, fields_checksum, late,
      row_number() OVER (PARTITION BY source, event_id ORDER BY epoch, log_partition, log_offset, record_index) AS copy_number,
      first_value(fields_checksum) OVER (PARTITION BY source, event_id ORDER BY epoch, log_partition, log_offset, record_index) AS first_checksum
    FROM new_events
    WHERE reason IS NULL
  ) copies
  UNION ALL
  SELECT log_partition, 1, 0, 0, 0, 0 FROM new_events WHERE reason IS NOT NULL
) judged
GROUP BY log_partition
