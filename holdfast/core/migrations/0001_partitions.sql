-- Old rows leave by dropping a partition, never by a mass DELETE.
-- The app's role may call keep_partitions(); what it makes and drops is fixed by migrations.
CREATE TABLE partition_plans (
  parent text PRIMARY KEY,          -- a table of this schema, partitioned by range of a timestamptz
  step interval NOT NULL,           -- how much time one partition holds
  ahead integer NOT NULL,           -- how many are made in advance
  keep interval NOT NULL            -- a partition goes when all of it is older than this
);

CREATE FUNCTION keep_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET timezone = 'UTC'  -- where clocks change, a week is not always 168 hours
AS $$
DECLARE
  plan partition_plans;
  starts timestamptz;
  part record;
  changed integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext(current_schema() || '.keep_partitions'));
  FOR plan IN SELECT * FROM partition_plans LOOP
    FOR i IN 0 .. plan.ahead LOOP
      starts := date_bin(plan.step, now(), '2000-01-03 00:00+00') + i * plan.step;
      IF to_regclass(plan.parent || to_char(starts AT TIME ZONE 'UTC', '_YYYYMMDD')) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
          plan.parent || to_char(starts AT TIME ZONE 'UTC', '_YYYYMMDD'),
          plan.parent, starts, starts + plan.step);
        changed := changed + 1;
      END IF;
    END LOOP;
    FOR part IN
      SELECT child.relname AS name
      FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
      WHERE inhparent = to_regclass(plan.parent)
        AND CASE WHEN child.relname ~ '_[0-9]{8}$'   -- one that somebody else made is left alone
          THEN to_date(right(child.relname, 8), 'YYYYMMDD') + plan.step < now() - plan.keep
        END
    LOOP
      EXECUTE format('DROP TABLE %I', part.name);
      changed := changed + 1;
    END LOOP;
  END LOOP;
  RETURN changed;
END $$;
