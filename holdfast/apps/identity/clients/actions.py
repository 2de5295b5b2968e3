"""OAuth clients are made, changed and removed by administrators, and prove themselves.

Nobody makes a client that may do more than they may themselves, nor gets hold of the secret of one.
A client that calls by itself is a user without an address: it is given roles like anybody.
"""

from collections.abc import Iterable
from uuid import UUID

from holdfast.apps.identity.access.schemas import user_subject
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.clients import queries, rules
from holdfast.apps.identity.clients.schemas import Client, ClientChangeIn, ClientIn, client_subject
from holdfast.apps.identity.guard import Caller
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.actions import permissions_of, require_known
from holdfast.apps.identity.roles.queries import select_user_permissions
from holdfast.apps.identity.roles.rules import refuse_beyond
from holdfast.apps.identity.sessions.actions import end_client_sessions
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import ConflictError, InvalidError, NotFoundError

WRITE = "clients:write"


async def find_client(here: Identity, client_id: str) -> Client | None:
    """A client as it is at this moment; without I/O when this worker knows it."""
    client = here.clients.peek(client_id)
    if client is None and rules.is_client_id(client_id):
        await here.lease.confirm()
        client = await here.clients.get(client_id)
    return client


async def authenticate(here: Identity, client_id: str, secret: str | None) -> Client | None:
    """The client, if the secret proves that it is the one."""
    client = await find_client(here, client_id)
    if client and rules.proves(client.secret_hash, client.id, secret, here.secrets):
        return client
    return None


async def create_client(
    here: Identity, caller: Caller, wanted: ClientIn
) -> tuple[queries.Client, str | None]:
    """A new client, and its secret, which nobody can be told again."""
    if wanted.service_account and not wanted.confidential:
        raise InvalidError(("service_account", "needs a client that can keep a secret"))
    _require_proper(wanted)
    client_id = rules.make_client_id()
    secret = rules.make_secret() if wanted.confidential else None
    async with here.db.transaction() as db:
        await _refuse_beyond(db, caller, wanted.scopes)
        client = await queries.insert_client(
            db,
            client_id=client_id,
            name=wanted.name,
            secret_hash=rules.hash_secret(client_id, secret, here.secrets) if secret else None,
            redirect_uris=wanted.redirect_uris,
            logout_uris=wanted.logout_uris,
            scopes=wanted.scopes,
            trusted=wanted.trusted,
            service_id=await _make_service_user(db, wanted),
        )
        told = wanted.model_dump(include={"name", "scopes", "trusted"})
        await record(db, "client.created", actor=caller.user_id, client_id=client_id, **told)
    return client, secret


async def change_client(
    here: Identity, caller: Caller, client_id: str, wanted: ClientChangeIn
) -> queries.Client:
    """Sessions with a scope that the client loses end."""
    _require_proper(wanted)
    async with epochs.change(here.lease) as change:
        before = await _lock_client(change.db, client_id)
        await _refuse_beyond(change.db, caller, set(wanted.scopes or ()) - set(before.scopes))
        client = await queries.update_client(
            change.db,
            client_id=client_id,
            name=wanted.name,
            redirect_uris=wanted.redirect_uris,
            logout_uris=wanted.logout_uris,
            scopes=wanted.scopes,
            trusted=wanted.trusted,
        )
        if client.service_id and wanted.name:
            await queries.update_service_user_name(
                change.db, name=wanted.name, user_id=client.service_id
            )
            change.touches(user_subject(client.service_id))
        await end_client_sessions(change, client_id, kept_scopes=client.scopes)
        told = wanted.model_dump(exclude_none=True)
        await record(change.db, "client.changed", actor=caller.user_id, client_id=client_id, **told)
        change.touches(client_subject(client_id))
    return client


async def delete_client(here: Identity, caller: Caller, client_id: str) -> None:
    """With its sessions, its users' consents, and the user that it was when it called by itself."""
    async with epochs.change(here.lease) as change:
        await permissions_of(change.db, caller, needed=WRITE)
        client = await _lock_client(change.db, client_id)
        await queries.delete_client(change.db, client_id)
        await end_client_sessions(change, client_id)
        if client.service_id:
            await queries.delete_service_user(change.db, client.service_id)
            change.touches(user_subject(client.service_id))
        await record(
            change.db, "client.deleted", actor=caller.user_id, client_id=client_id, name=client.name
        )
        change.touches(client_subject(client_id))


async def rotate_client_secret(here: Identity, caller: Caller, client_id: str) -> str:
    """A new secret; the one before is refused from the next request on."""
    secret = rules.make_secret()
    async with epochs.change(here.lease) as change:
        own = await permissions_of(change.db, caller, needed=WRITE)
        client = await _lock_client(change.db, client_id)
        if client.secret_hash is None:
            raise ConflictError("This client can keep no secret. Make one that can.")
        refuse_beyond(own, await _reach(change.db, client))
        await queries.update_client_secret(
            change.db,
            client_id=client_id,
            secret_hash=rules.hash_secret(client_id, secret, here.secrets),
        )
        await record(change.db, "client.secret_rotated", actor=caller.user_id, client_id=client_id)
        change.touches(client_subject(client_id))
    return secret


def _require_proper(wanted: ClientIn | ClientChangeIn) -> None:
    rules.require_addresses("redirect_uris", wanted.redirect_uris or ())
    rules.require_addresses("logout_uris", wanted.logout_uris or ())
    rules.require_scopes(wanted.scopes or ())


async def _refuse_beyond(db: Executor, caller: Caller, scopes: Iterable[str]) -> None:
    """Refuse whoever may not change clients, or would give one what they have not."""
    own = await permissions_of(db, caller, needed=WRITE)
    permissions = rules.permissions_among(scopes)
    await require_known(db, "scopes", permissions)
    refuse_beyond(own, permissions)


async def _make_service_user(db: Executor, wanted: ClientIn) -> UUID | None:
    return await queries.insert_service_user(db, wanted.name) if wanted.service_account else None


async def _reach(db: Executor, client: queries.Client) -> set[str]:
    """What the client may do when it calls by itself."""
    if client.service_id is None:
        return set()
    roles_permit = await select_user_permissions(db, client.service_id)
    return set(rules.permissions_among(client.scopes)).intersection(roles_permit)


async def _lock_client(db: Executor, client_id: str) -> queries.Client:
    client = await queries.lock_client(db, client_id)
    if client is None:
        raise NotFoundError("There is no client with this id.")
    return client
