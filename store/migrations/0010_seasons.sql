-- Up Migration

-- One row per version of the table of seasons. A version never changes: setting another table makes the next one, and what named an old one still reads it.
CREATE TABLE season_versions (
  version integer PRIMARY KEY,
  calendar text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN season_versions.calendar IS 'What people call this table of seasons.';
INSERT INTO season_versions (version, calendar, created_at)
  SELECT s.version, CASE s.version WHEN 1 THEN 'meteorological, northern hemisphere' ELSE 'own' END, l.created_at
  FROM (SELECT DISTINCT version FROM seasons) s, lake_state l;

ALTER TABLE seasons ADD COLUMN last_month integer CHECK (last_month BETWEEN 1 AND 12);
ALTER TABLE seasons ADD COLUMN last_day integer CHECK (last_day BETWEEN 1 AND 31);
COMMENT ON COLUMN seasons.last_day IS 'Of a leap year: 29 February is the last of February in every year.';
-- Of what was there: the day before the next season's first, in a leap year.
UPDATE seasons s SET last_month = extract(month FROM n.last), last_day = extract(day FROM n.last)
FROM (
  SELECT version, name,
    make_date(2024, coalesce(lead(first_month) OVER w, first_value(first_month) OVER w), 1)
      + coalesce(lead(first_day) OVER w, first_value(first_day) OVER w) - 2 AS last
  FROM seasons WINDOW w AS (PARTITION BY version ORDER BY first_month, first_day)
) n WHERE n.version = s.version AND n.name = s.name;
ALTER TABLE seasons ALTER COLUMN last_month SET NOT NULL;
ALTER TABLE seasons ALTER COLUMN last_day SET NOT NULL;
ALTER TABLE seasons ADD FOREIGN KEY (version) REFERENCES season_versions ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

-- As before; and what lies before the first season of the year 1, the first that an event may have, is of the year 0000.
CREATE OR REPLACE FUNCTION season_of(day date) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce(
    (SELECT to_char(day, 'YYYY') || '-' || s.name FROM seasons s, lake_state
      WHERE s.version = lake_state.season_version
        AND (s.first_month, s.first_day) <= (extract(month FROM day)::int, extract(day FROM day)::int)
      ORDER BY s.first_month DESC, s.first_day DESC LIMIT 1),
    (SELECT to_char(extract(year FROM day) - 1, 'FM0000') || '-' || s.name FROM seasons s, lake_state
      WHERE s.version = lake_state.season_version
      ORDER BY s.first_month DESC, s.first_day DESC LIMIT 1))
$$;

-- Which Tidemark brought the schema to where it is: an older one says so when it refuses the store.
ALTER TABLE lake_state ADD COLUMN made_by text;
COMMENT ON COLUMN lake_state.made_by IS 'Version of the Tidemark that applied the newest migration; null where that was not recorded yet.';
