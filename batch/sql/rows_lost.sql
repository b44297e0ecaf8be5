-- one row per comparison: how many rows of the merged files are not in the file that they became, to the last column
SELECT CAST(count(*) AS bigint) AS row_count
FROM (
  SELECT * FROM merged_from
  EXCEPT
  SELECT * FROM merged_into
) lost
