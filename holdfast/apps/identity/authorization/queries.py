"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

SELECT_AGREED_SCOPES = """
SELECT scopes FROM consents WHERE user_id = $1 AND client_id = $2
"""


async def select_agreed_scopes(db: Executor, *, user_id: UUID, client_id: str) -> list[str] | None:
    value: list[str] | None = await db.fetchval(SELECT_AGREED_SCOPES, user_id, client_id)
    return value


SELECT_NEXT_SESSION_ID = """
SELECT uuidv7() AS id
"""


async def select_next_session_id(db: Executor) -> UUID:
    """The id of a session that will begin when a code is exchanged."""
    [record] = await db.fetch(SELECT_NEXT_SESSION_ID)
    value: UUID = record[0]
    return value


UPSERT_CONSENT = """
INSERT INTO consents AS consent (user_id, client_id, scopes)
SELECT u.id, c.id, $1::text[] FROM users u, clients c
WHERE u.id = $2 AND c.id = $3
FOR KEY SHARE
ON CONFLICT (user_id, client_id) DO UPDATE SET
  scopes = array(SELECT DISTINCT unnest(consent.scopes || excluded.scopes) ORDER BY 1),
  given_at = now()
"""


async def upsert_consent(
    db: Executor, *, scopes: Sequence[str], user_id: UUID, client_id: str
) -> int:
    """To these scopes, and to those before. No row when the client or the account is gone."""
    status = await db.execute(UPSERT_CONSENT, scopes, user_id, client_id)
    return int(status.rpartition(" ")[2])


class Consent(NamedTuple):
    client_id: str
    name: str
    scopes: list[str]
    given_at: datetime


SELECT_CONSENTS = """
SELECT c.client_id, clients.name, c.scopes, c.given_at
FROM consents c JOIN clients ON clients.id = c.client_id
WHERE c.user_id = $1 AND c.client_id > $2
ORDER BY c.client_id
LIMIT $3
"""


async def select_consents(db: Executor, *, user_id: UUID, after: str, most: int) -> list[Consent]:
    return [Consent(*record) for record in await db.fetch(SELECT_CONSENTS, user_id, after, most)]


DELETE_CONSENT = """
DELETE FROM consents WHERE user_id = $1 AND client_id = $2
"""


async def delete_consent(db: Executor, *, user_id: UUID, client_id: str) -> int:
    status = await db.execute(DELETE_CONSENT, user_id, client_id)
    return int(status.rpartition(" ")[2])
