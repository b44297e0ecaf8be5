-- one row per (epoch, partition): how many events count, and the sums of the halves of their id hashes
SELECT epoch, CAST(log_partition AS bigint) AS log_partition, CAST(count(*) AS bigint) AS events,
  CAST(sum(id_hash_hi) AS bigint) AS hash_hi_sum, CAST(sum(id_hash_lo) AS bigint) AS hash_lo_sum
FROM counted_events
GROUP BY epoch, log_partition
