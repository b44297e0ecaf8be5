-- one row per (epoch, partition) of the new files: what was read, to hold against the register
SELECT epoch, CAST(log_partition AS bigint) AS log_partition, CAST(count(*) AS bigint) AS row_count,
  CAST(sum(CASE WHEN reason IS NULL THEN 1 ELSE 0 END) AS bigint) AS accepted,
  CAST(coalesce(sum(id_hash_hi), 0) AS bigint) AS hash_hi_sum, CAST(coalesce(sum(id_hash_lo), 0) AS bigint) AS hash_lo_sum,
  CAST(coalesce(sum(quantity), 0) AS bigint) AS quantity_sum, CAST(coalesce(sum(total_minor), 0) AS bigint) AS total_minor_sum
FROM new_events
GROUP BY epoch, log_partition
