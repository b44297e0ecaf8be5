-- one row per (partition, offset) of the archived files whose record holds an id hash of the new events: where older copies may stand
SELECT DISTINCT CAST(o.log_partition AS bigint) AS log_partition, o.log_offset
FROM archived_events o
JOIN (SELECT DISTINCT id_hash_hi, id_hash_lo FROM new_events WHERE reason IS NULL) n ON n.id_hash_hi = o.id_hash_hi AND n.id_hash_lo = o.id_hash_lo
