-- Where the outbox's events went last, and the last entry that was acknowledged there: a log without it is another one.
CREATE TABLE outbox_log (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  id uuid NOT NULL DEFAULT uuidv7(),   -- another one whenever everything is sent again
  place text NOT NULL,
  position text NOT NULL               -- empty while nothing was acknowledged
) WITH (fillfactor = 50);
INSERT INTO outbox_log (place, position) VALUES ('redis', '');
