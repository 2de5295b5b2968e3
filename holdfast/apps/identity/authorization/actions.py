"""A client asks, a person agrees, and a code says so; sign-outs that a client begins.

An address of the client is believed only when it is registered: until then nobody is sent anywhere.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.authorization import queries, rules
from holdfast.apps.identity.authorization.rules import Ask, Step
from holdfast.apps.identity.authorization.schemas import CODE, Code
from holdfast.apps.identity.clients.actions import find_client
from holdfast.apps.identity.clients.rules import leads_back
from holdfast.apps.identity.clients.schemas import Client
from holdfast.apps.identity.guard import Caller
from holdfast.apps.identity.oauth import OAuthError
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.sessions.actions import end_client_sessions, end_sessions
from holdfast.apps.identity.sessions.queries import lock_session_owner
from holdfast.apps.identity.tickets.actions import issue
from holdfast.core import epochs
from holdfast.core.errors import MalformedError, NotFoundError

CODE_LIVES = timedelta(seconds=60)
LONGEST_HINT = 4096


class Hint(msgspec.Struct, frozen=True):
    """Whom an ID token of ours was about; it may have expired."""

    iss: str
    aud: str
    sub: UUID
    sid: UUID


async def find_asking_client(here: Identity, told: Mapping[str, str]) -> Client:
    """Who asks; refuses before anybody is sent to an address that is not the client's."""
    client = await find_client(here, told.get("client_id", ""))
    if client is None:
        raise UnknownClientError
    address = told.get("redirect_uri", "")
    if not leads_back(client.redirect_uris, address, any_port=not client.confidential):
        raise ForeignAddressError
    return client


async def weigh(
    here: Identity, client: Client, ask: Ask, caller: Caller | None, hint: str | None
) -> Step:
    """What is to be done before the client is answered."""
    about = await read_hint(here, hint) if hint else None
    if about and caller and about.sub != caller.user_id:
        raise OAuthError("login_required", "Somebody else is signed in here.")
    return rules.next_step(
        ask,
        proved_at=caller.grants.authenticated_at if caller else None,
        agreed=caller is not None and await _has_agreed(here, client, ask, caller),
        now=datetime.now(UTC),
    )


async def issue_code(here: Identity, client: Client, ask: Ask, caller: Caller) -> str:
    facts = Code(
        client_id=client.id,
        redirect_uri=ask.redirect_uri,
        challenge=ask.challenge,
        scopes=ask.scopes,
        nonce=ask.nonce,
        user_id=caller.user_id,
        browser_session=caller.session_id,
        session_id=await queries.select_next_session_id(here.db),
    )
    return await issue(
        here.db, here.secrets, CODE, facts, lifetime=CODE_LIVES, user_id=caller.user_id
    )


async def give_consent(
    here: Identity, client: Client, user_id: UUID, scopes: Sequence[str]
) -> None:
    async with here.db.transaction() as db:
        if not await queries.upsert_consent(
            db, user_id=user_id, client_id=client.id, scopes=sorted(scopes)
        ):
            raise UnknownClientError
        await record(
            db, "consent.given", actor=user_id, user=user_id, client_id=client.id, scopes=scopes
        )


async def revoke_consent(here: Identity, user_id: UUID, client_id: str) -> None:
    """What the client holds of this user is refused from the next request on."""
    async with epochs.change(here.lease) as change:
        await lock_session_owner(change.db, user_id)
        if not await queries.delete_consent(change.db, user_id=user_id, client_id=client_id):
            raise NotFoundError("You have agreed to nothing with a client of this id.")
        await end_client_sessions(change, client_id, user_id=user_id)
        await record(change.db, "consent.revoked", actor=user_id, user=user_id, client_id=client_id)


async def read_hint(here: Identity, text: str) -> Hint | None:
    """Whom an ID token is about, if we have signed it; also when it has expired."""
    if len(text) > LONGEST_HINT:
        return None
    try:
        header = jws.extract_compact(text.encode()).headers()
        key = await here.keys.find(str(header.get("kid")))
        if key is None or header.get("typ") != "JWT":
            return None
        payload = jws.deserialize_compact(text, key.key, algorithms=[key.alg]).payload
        hint = msgspec.json.decode(payload, type=Hint)
    except (JoseError, msgspec.MsgspecError, ValueError):
        return None
    return hint if hint.iss == here.settings.origin else None


async def log_out(here: Identity, caller: Caller | None, hint: Hint | None) -> None:
    """End the browser's session, and the client's that the hint is about."""
    ended = [*([caller.session_id] if caller else ()), *([hint.sid] if hint else ())]
    if ended:
        await end_sessions(here, ended)


async def _has_agreed(here: Identity, client: Client, ask: Ask, caller: Caller) -> bool:
    if client.trusted:
        return True
    agreed = await queries.select_agreed_scopes(
        here.db, user_id=caller.user_id, client_id=client.id
    )
    return set(ask.scopes) <= set(agreed or ())


class UnknownClientError(MalformedError):
    sentence = "The service that sent you here is not known. Go back, and tell its operator."


class ForeignAddressError(MalformedError):
    sentence = (
        "The service that sent you here wants you back at an address that is not registered for it."
        " Go back, and tell its operator."
    )
