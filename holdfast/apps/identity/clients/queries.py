"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Client(NamedTuple):
    id: str
    name: str
    secret_hash: bytes | None
    redirect_uris: list[str]
    logout_uris: list[str]
    scopes: list[str]
    trusted: bool
    service_id: UUID | None
    created_at: datetime


SELECT_CLIENTS = """
SELECT id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id, created_at
FROM clients
WHERE id > $1
ORDER BY id
LIMIT $2
"""


async def select_clients(db: Executor, *, after: str, most: int) -> list[Client]:
    return [Client(*record) for record in await db.fetch(SELECT_CLIENTS, after, most)]


SELECT_CLIENT = """
SELECT id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id, created_at
FROM clients
WHERE id = $1
"""


async def select_client(db: Executor, client_id: str) -> Client | None:
    record = await db.fetchrow(SELECT_CLIENT, client_id)
    return None if record is None else Client(*record)


LOCK_CLIENT = """
SELECT id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id, created_at
FROM clients
WHERE id = $1 FOR UPDATE
"""


async def lock_client(db: Executor, client_id: str) -> Client | None:
    """The client, unchanged until commit."""
    record = await db.fetchrow(LOCK_CLIENT, client_id)
    return None if record is None else Client(*record)


INSERT_CLIENT = """
INSERT INTO clients
  (id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id)
VALUES (
  $1, $2, $3, $4, $5, $6, $7,
  $8
)
RETURNING id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id,
  created_at
"""


async def insert_client(
    db: Executor,
    *,
    client_id: str,
    name: str,
    secret_hash: bytes | None,
    redirect_uris: Sequence[str],
    logout_uris: Sequence[str],
    scopes: Sequence[str],
    trusted: bool,
    service_id: UUID | None,
) -> Client:
    [record] = await db.fetch(
        INSERT_CLIENT,
        client_id,
        name,
        secret_hash,
        redirect_uris,
        logout_uris,
        scopes,
        trusted,
        service_id,
    )
    return Client(*record)


UPDATE_CLIENT = """
UPDATE clients SET
  name = coalesce($1, name),
  redirect_uris = coalesce($2::text[], redirect_uris),
  logout_uris = coalesce($3::text[], logout_uris),
  scopes = coalesce($4::text[], scopes),
  trusted = coalesce($5, trusted)
WHERE id = $6
RETURNING id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id,
  created_at
"""


async def update_client(
    db: Executor,
    *,
    name: str | None,
    redirect_uris: Sequence[str] | None,
    logout_uris: Sequence[str] | None,
    scopes: Sequence[str] | None,
    trusted: bool | None,
    client_id: str,
) -> Client:
    """What is NULL stays as it is."""
    [record] = await db.fetch(
        UPDATE_CLIENT, name, redirect_uris, logout_uris, scopes, trusted, client_id
    )
    return Client(*record)


UPDATE_CLIENT_SECRET = """
UPDATE clients SET secret_hash = $1 WHERE id = $2
"""


async def update_client_secret(db: Executor, *, secret_hash: bytes | None, client_id: str) -> None:
    await db.execute(UPDATE_CLIENT_SECRET, secret_hash, client_id)


DELETE_CLIENT = """
DELETE FROM clients WHERE id = $1
"""


async def delete_client(db: Executor, client_id: str) -> None:
    """With its users' consents."""
    await db.execute(DELETE_CLIENT, client_id)


INSERT_SERVICE_USER = """
INSERT INTO users (service, name) VALUES (true, $1) RETURNING id
"""


async def insert_service_user(db: Executor, name: str | None) -> UUID:
    [record] = await db.fetch(INSERT_SERVICE_USER, name)
    value: UUID = record[0]
    return value


UPDATE_SERVICE_USER_NAME = """
UPDATE users SET name = $1 WHERE id = $2 AND service
"""


async def update_service_user_name(db: Executor, *, name: str | None, user_id: UUID) -> None:
    await db.execute(UPDATE_SERVICE_USER_NAME, name, user_id)


DELETE_SERVICE_USER = """
DELETE FROM users WHERE id = $1 AND service
"""


async def delete_service_user(db: Executor, user_id: UUID) -> None:
    await db.execute(DELETE_SERVICE_USER, user_id)
