-- one row per record of the attached files that has an event of the person
SELECT DISTINCT CAST(log_partition AS bigint) AS log_partition, log_offset
FROM erasure_files
WHERE user_id = :user
