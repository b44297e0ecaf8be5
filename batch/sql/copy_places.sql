-- one row per (epoch, partition, thousand offsets) of the archived files that holds an id hash of the new events: where older copies may stand
SELECT o.epoch, CAST(o.log_partition AS bigint) AS log_partition, min(o.log_offset) AS first_offset, max(o.log_offset) AS last_offset
FROM archived_events o
JOIN (SELECT DISTINCT id_hash_hi, id_hash_lo FROM new_events WHERE reason IS NULL) n ON n.id_hash_hi = o.id_hash_hi AND n.id_hash_lo = o.id_hash_lo
GROUP BY o.epoch, o.log_partition, o.log_offset - mod(o.log_offset, 1000)
