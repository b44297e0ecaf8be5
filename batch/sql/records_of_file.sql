-- one row per record of the attached file, with what the log had of it; Base64, since engines hand out no bytes
SELECT log_offset, CAST(log_time AS varchar) AS log_time, headers, to_base64(bytes) AS record_bytes
FROM range_file
WHERE bytes IS NOT NULL AND log_partition = :partition
ORDER BY log_offset
