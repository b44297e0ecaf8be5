-- one row per accepted new event at the positions asked for, a condition on (log_partition, log_offset)
SELECT epoch, CAST(log_partition AS bigint) AS log_partition, log_offset, CAST(record_index AS bigint) AS record_index, source, event_id
FROM new_events
WHERE reason IS NULL AND (:positions)
