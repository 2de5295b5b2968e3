-- Acknowledged epochs: what changed, in a gapless order, and how far each worker has noted it.
CREATE TABLE epoch_head (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  number bigint NOT NULL,
  lineage uuid NOT NULL DEFAULT uuidv7()   -- tells this database from one that was there before
);
INSERT INTO epoch_head (number) VALUES (0);

CREATE TABLE epoch_changes (
  number bigint NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  subjects text[] NOT NULL
) PARTITION BY RANGE (changed_at);
CREATE INDEX epoch_changes_number ON epoch_changes (number);

CREATE TABLE epoch_workers (
  worker uuid PRIMARY KEY,
  acknowledged bigint NOT NULL,
  lease_s double precision NOT NULL,
  beats bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 50);

INSERT INTO partition_plans VALUES ('epoch_changes', '1 day', 7, '1 day');
SELECT keep_partitions();
