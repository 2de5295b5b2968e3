"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_MAIL = """
INSERT INTO mails (template, recipient, language, facts)
VALUES ($1, $2, $3, $4)
"""


async def insert_mail(
    db: Executor, *, template: str, recipient: str, language: str, facts: str
) -> None:
    await db.execute(INSERT_MAIL, template, recipient, language, facts)


SELECT_MAIL_WAITING = """
SELECT EXISTS (
  SELECT FROM mails
  WHERE sent_at IS NULL AND given_up_at IS NULL AND next_attempt_at <= now()
)::boolean AS waiting
"""


async def select_mail_waiting(db: Executor) -> bool:
    [record] = await db.fetch(SELECT_MAIL_WAITING)
    value: bool = record[0]
    return value


class Waiting(NamedTuple):
    id: UUID
    created_at: datetime
    template: str
    recipient: str
    language: str
    facts: str
    attempts: int


UPDATE_MAIL_TAKEN = """
UPDATE mails SET
  attempts = attempts + 1,
  next_attempt_at = now() + least(2 ^ attempts, 60) * interval '1 minute'
WHERE (id, created_at) = (
  SELECT id, created_at FROM mails
  WHERE sent_at IS NULL AND given_up_at IS NULL AND next_attempt_at <= now()
  ORDER BY next_attempt_at
  LIMIT 1
  FOR UPDATE SKIP LOCKED
)
RETURNING id, created_at, template, recipient, language, facts, attempts
"""


async def update_mail_taken(db: Executor) -> Waiting | None:
    """Take the mail that has waited longest, and say at once when the next attempt would be: nobody
    else takes it until then, and if this attempt is cut off it is made again.
    """
    record = await db.fetchrow(UPDATE_MAIL_TAKEN)
    return None if record is None else Waiting(*record)


UPDATE_MAIL_DONE = """
UPDATE mails SET sent_at = now(), content = $1, last_error = $2
WHERE id = $3 AND created_at = $4
"""


async def update_mail_done(
    db: Executor, *, content: str | None, note: str | None, id: UUID, created_at: datetime
) -> None:
    """Sent, or kept in development; or there was nobody to send it to, as the note says."""
    await db.execute(UPDATE_MAIL_DONE, content, note, id, created_at)


UPDATE_MAIL_FAILED = """
UPDATE mails SET
  last_error = $1::text,
  given_up_at = CASE WHEN $2::boolean THEN now() END
WHERE id = $3 AND created_at = $4
"""


async def update_mail_failed(
    db: Executor, *, reason: str, for_good: bool, id: UUID, created_at: datetime
) -> None:
    await db.execute(UPDATE_MAIL_FAILED, reason, for_good, id, created_at)


UPDATE_MAILS_GIVEN_UP = """
UPDATE mails SET given_up_at = now(), last_error = coalesce(last_error, 'No mail server took it.')
WHERE sent_at IS NULL AND given_up_at IS NULL AND created_at < now() - interval '1 day'
"""


async def update_mails_given_up(db: Executor) -> int:
    """What nobody has taken for a day."""
    status = await db.execute(UPDATE_MAILS_GIVEN_UP)
    return int(status.rpartition(" ")[2])


class Reader(NamedTuple):
    user_id: UUID
    language: str
    verified: bool


SELECT_READER = """
SELECT id AS user_id, language, (email_verified_at IS NOT NULL)::boolean AS verified
FROM users WHERE email = $1 AND banned_at IS NULL
"""


async def select_reader(db: Executor, email: str | None) -> Reader | None:
    """The account of an address, unless it is banned."""
    record = await db.fetchrow(SELECT_READER, email)
    return None if record is None else Reader(*record)


SELECT_MOVER = """
SELECT u.id AS user_id, u.language, (u.email_verified_at IS NOT NULL)::boolean AS verified
FROM users u
WHERE u.id = $1 AND u.banned_at IS NULL
  AND NOT EXISTS (SELECT FROM users other WHERE other.email = $2)
"""


async def select_mover(db: Executor, *, user_id: UUID, email: str | None) -> Reader | None:
    """The account that is to have another address, unless it is banned or the address is taken."""
    record = await db.fetchrow(SELECT_MOVER, user_id, email)
    return None if record is None else Reader(*record)


SELECT_SIGNED_IN_BEFORE = """
SELECT EXISTS (
  SELECT FROM login_history
  WHERE user_id = $1::uuid AND outcome = 'succeeded' AND at < $2
)::boolean AS signed_in_before
"""


async def select_signed_in_before(db: Executor, *, user_id: UUID, moment: datetime) -> bool:
    [record] = await db.fetch(SELECT_SIGNED_IN_BEFORE, user_id, moment)
    value: bool = record[0]
    return value


class Unsent(NamedTuple):
    waiting: int
    oldest_s: float
    given_up: int


SELECT_MAILS_UNSENT = """
SELECT
  count(*) AS waiting,
  coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s,
  (SELECT count(*) FROM mails WHERE given_up_at IS NOT NULL) AS given_up
FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL
"""


async def select_mails_unsent(db: Executor) -> Unsent:
    """How many mails wait, since when, and how many were given up of those that are still kept."""
    [record] = await db.fetch(SELECT_MAILS_UNSENT)
    return Unsent(*record)


class Mail(NamedTuple):
    id: UUID
    created_at: datetime
    recipient: str
    language: str
    template: str
    content: str | None
    last_error: str | None
    done: bool
    given_up: bool


SELECT_MAILS = """
SELECT id, created_at, recipient, language, template, content, last_error,
  (sent_at IS NOT NULL)::boolean AS done, (given_up_at IS NOT NULL)::boolean AS given_up
FROM mails ORDER BY id DESC LIMIT $1
"""


async def select_mails(db: Executor, most: int) -> list[Mail]:
    """The newest mails, for the page that shows them in development."""
    return [Mail(*record) for record in await db.fetch(SELECT_MAILS, most)]


SELECT_MAIL = """
SELECT id, created_at, recipient, language, template, content, last_error,
  (sent_at IS NOT NULL)::boolean AS done, (given_up_at IS NOT NULL)::boolean AS given_up
FROM mails WHERE id = $1
"""


async def select_mail(db: Executor, id: UUID) -> Mail | None:
    record = await db.fetchrow(SELECT_MAIL, id)
    return None if record is None else Mail(*record)
