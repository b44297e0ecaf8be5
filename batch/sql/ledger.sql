-- one row per event of the partition that counts, from the offset asked for, with the checksum of its fields
SELECT c.epoch, c.log_offset, CAST(c.record_index AS bigint) AS record_index, c.source, c.event_id, n.fields_checksum
FROM counted_events c
JOIN new_events n ON n.log_partition = c.log_partition AND n.log_offset = c.log_offset AND n.record_index = c.record_index
WHERE c.log_partition = :partition AND c.log_offset >= :from_offset
ORDER BY c.log_offset, c.record_index
