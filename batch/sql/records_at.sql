-- one row per record at the positions asked for, a condition on (log_partition, log_offset), with what the log had of it; Base64, since engines hand out no bytes
SELECT CAST(log_partition AS bigint) AS log_partition, log_offset, CAST(log_time AS varchar) AS log_time, headers, to_base64(bytes) AS record_bytes
FROM new_events
WHERE record_index = 0 AND (:positions)
