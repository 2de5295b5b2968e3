-- What orders last said of an offer's stock. Orders decides; this is only for showing.
CREATE TABLE availability (
  offer_id uuid PRIMARY KEY,
  remaining bigint NOT NULL,
  held bigint NOT NULL,
  sold bigint NOT NULL,
  changes bigint NOT NULL              -- orders' number of this state: an older one changes nothing
) WITH (fillfactor = 50);
