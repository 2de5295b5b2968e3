"""Lanes of failed attempts, for tests that may be slower than the first delays are long."""

import asyncpg

STAY_CLOSED = """
    CREATE FUNCTION stay_closed() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN NEW.open_at := NEW.open_at + interval '1 minute'; RETURN NEW; END $$;
    CREATE TRIGGER stay_closed BEFORE UPDATE ON login_lanes FOR EACH ROW
      WHEN (NEW.open_at > clock_timestamp()) EXECUTE FUNCTION stay_closed()"""


async def keep_closed(db: asyncpg.Connection) -> None:
    """From now on a lane that closes for a second or more stays closed for a minute besides."""
    await db.execute(STAY_CLOSED)
