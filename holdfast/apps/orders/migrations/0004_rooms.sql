-- How many customers a second the offer's waiting room lets in to order; NULL: it has none.
ALTER TABLE offers ADD COLUMN admit_per_s integer CHECK (admit_per_s BETWEEN 1 AND 10000);

-- A waiting room. Whoever joins it, or gives turns in it, holds its lock; orders need not.
CREATE TABLE rooms (
  offer_id uuid PRIMARY KEY REFERENCES offers,
  gathered bigint NOT NULL DEFAULT 0,  -- how many are in it without a turn
  turns bigint NOT NULL DEFAULT 0,     -- how many were given so far; the next has the next number
  next_turn_at timestamptz NOT NULL DEFAULT '-infinity'  -- not before; later when nobody waits
) WITH (fillfactor = 50);

-- Who is in a room, and who was. No foreign keys, as with orders.
CREATE TABLE room_entries (
  offer_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  arrival bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  draw uuid,                           -- the lot of who came before the opening; nobody is told
  joins smallint NOT NULL DEFAULT 1,   -- how often they joined: each time is for one turn
  number bigint,                       -- of their turn, from 1; NULL until it is given
  turn_at timestamptz,                 -- when they are admitted; NULL until then, too
  used_at timestamptz,                 -- when they ordered
  PRIMARY KEY (offer_id, customer_id)
);
CREATE INDEX room_entries_gathered ON room_entries (offer_id, draw, arrival) WHERE turn_at IS NULL;
CREATE INDEX room_entries_by_turn ON room_entries (offer_id, turn_at, number);
