CREATE TABLE signing_keys (
  kid text PRIMARY KEY,
  alg text NOT NULL,
  public_jwk jsonb NOT NULL,
  private_sealed bytea NOT NULL,    -- encrypted with a key made from HOLDFAST_SECRET
  signs_from timestamptz NOT NULL,
  verifies_until timestamptz        -- null for the newest: it has no successor yet
);

SELECT keep_partitions();
