-- one row per refused record of the attached files, with its bytes; Base64, since engines hand out no bytes
SELECT CAST(log_partition AS bigint) AS log_partition, log_offset, to_base64(bytes) AS record_bytes
FROM erasure_files
WHERE reason IS NOT NULL AND bytes IS NOT NULL
