"""Sessions begin with a sign-in, go on by refresh tokens, and end for every worker at once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from holdfast.apps.identity.access.schemas import session_subject
from holdfast.apps.identity.audit.actions import record, record_each
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.sessions import queries, rules
from holdfast.apps.identity.sessions.rules import RefreshToken, Verdict
from holdfast.apps.identity.sessions.schemas import TokensOut
from holdfast.apps.identity.visitor import Visitor
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import NotFoundError, UnauthenticatedError
from holdfast.core.outbox import emit


class Family(Protocol):
    """What all tokens of a session say of it."""

    @property
    def session_id(self) -> UUID: ...
    @property
    def authenticated_at(self) -> datetime: ...
    @property
    def amr(self) -> Sequence[str]: ...
    @property
    def scopes(self) -> Sequence[str] | None: ...


class Begun(NamedTuple):
    """A session that has just begun."""

    session_id: UUID
    authenticated_at: datetime
    amr: Sequence[str]
    scopes: Sequence[str] | None
    token: RefreshToken


class Presented(NamedTuple):
    """A refresh token and who presents it: a client, or our own pages and apps."""

    token: RefreshToken
    client_id: str | None


async def begin_session(
    here: Identity,
    user_id: UUID,
    visitor: Visitor,
    amr: Sequence[str],
    *,
    password_changed_at: datetime | None = None,
    new_device: bool = False,
) -> Begun:
    """A session, for a user who has just proved to be one.

    None begins if the password has changed since it was checked; and a new device is told of.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    token = rules.first_token(user_id, now + timedelta(seconds=here.options.refresh_ttl_s))
    session_id = await queries.insert_session(
        here.db,
        user_id=user_id,
        expires_at=token.expires_at,
        ip=visitor.ip,
        device=visitor.device,
        amr=amr,
        authenticated_at=now,
        password_changed_at=password_changed_at,
        new_device=new_device,
        hash=token.hash,
    )
    if session_id is None:
        raise UnauthenticatedError(
            "This account was changed or closed a moment ago. Sign in again."
        )
    return Begun(session_id, now, amr, None, token)


async def begin_client_session(
    db: Executor,
    user_id: UUID,
    visitor: Visitor,
    *,
    client_id: str,
    scopes: Sequence[str],
    amr: Sequence[str],
    authenticated_at: datetime,
    lifetime: timedelta,
    session_id: UUID | None = None,
) -> Begun:
    """A session in which a client acts: for a user who has signed in here, or for itself."""
    now = datetime.now(UTC).replace(microsecond=0)
    token = rules.first_token(user_id, now + lifetime)
    begun = await queries.insert_client_session(
        db,
        session_id=session_id,
        user_id=user_id,
        expires_at=token.expires_at,
        ip=visitor.ip,
        device=visitor.device,
        amr=amr,
        authenticated_at=authenticated_at,
        client_id=client_id,
        scopes=scopes,
        hash=token.hash,
    )
    if begun is None:
        raise UnauthenticatedError("This account was closed a moment ago.")
    return Begun(begun, authenticated_at, amr, scopes, token)


async def refresh(here: Identity, token: RefreshToken) -> TokensOut:
    """Use a refresh token up, and answer its successor with a new access token."""
    family = await rotate(here, Presented(token, client_id=None))
    return await tokens_of(here, family, rules.successor(token, here.secrets))


async def rotate(here: Identity, presented: Presented) -> Family:
    """Use a refresh token up; its successor, which is derived from it, is live."""
    rotated = await here.merged(rotate_refresh_tokens)(presented)
    return rotated or await _used_before(here, presented)


async def rotate_refresh_tokens(
    here: Identity, presented: list[Presented]
) -> Sequence[queries.Rotated | None]:
    """Compare and swap many tokens; None for one that is not live. Through `here.merged`."""
    wanted = {each.token.hash: each for each in reversed(presented)}
    first = sorted(wanted.values(), key=lambda each: each.token.hash)  # all lock in the same order
    rows = await queries.update_refresh_tokens_used(
        here.db,
        hashes=[each.token.hash for each in first],
        clients=[each.client_id for each in first],
        expiries=[each.token.expires_at for each in first],
        successors=[rules.successor(each.token, here.secrets).hash for each in first],
    )
    rotated = {wanted[row.hash]: row for row in rows}
    return [rotated.get(each) for each in presented]


async def end_sessions(
    here: Identity,
    session_ids: Sequence[UUID],
    *,
    noted_as: str | None = None,
    actor: UUID | None = None,
) -> int:
    """End sessions, however many, in one statement; answers how many were open."""
    async with epochs.change(here.lease) as change:
        ended = await queries.update_sessions_ended(change.db, session_ids)
        await _announce(change, ended)
        if noted_as:
            owners = {session.user_id for session in ended}
            await record_each(change.db, noted_as, sorted(owners), actor=actor)
    return len(ended)


async def end_session(here: Identity, session_id: UUID, *, owner: UUID) -> None:
    """End one session of its owner."""
    if await queries.select_open_session_owner(here.db, session_id) != owner:
        raise NotFoundError("You have no open session with this id.")
    await end_sessions(here, [session_id], noted_as="session.ended", actor=owner)


async def end_user_sessions(
    change: epochs.Change, user_id: UUID, *, but: UUID | None = None
) -> int:
    """End all sessions of a user (but one), as part of a change."""
    await queries.lock_session_owner(change.db, user_id)
    ended = await queries.update_user_sessions_ended(change.db, user_id=user_id, but=but)
    await _announce(change, ended)
    return len(ended)


async def end_client_sessions(
    change: epochs.Change,
    client_id: str,
    *,
    user_id: UUID | None = None,
    kept_scopes: Sequence[str] | None = None,
) -> int:
    """End a client's sessions (one user's, or those with scopes that it loses) in a change."""
    ended = await queries.update_client_sessions_ended(
        change.db, client_id=client_id, user_id=user_id, kept_scopes=kept_scopes
    )
    await _announce(change, ended)
    return len(ended)


async def log_out_everywhere(here: Identity, user_id: UUID, *, but: UUID | None = None) -> int:
    async with epochs.change(here.lease) as change:
        ended = await end_user_sessions(change, user_id, but=but)
        await record(change.db, "user.logged_out", actor=user_id, user=user_id, sessions=ended)
        return ended


async def _used_before(here: Identity, presented: Presented) -> queries.UsedToken:
    """A token that is not live: its answer was lost, or somebody else has used it, or it is old."""
    token, client_id = presented
    used = await queries.select_used_refresh_token(
        here.db, hash=token.hash, expires_at=token.expires_at, client_id=client_id
    )
    if used is None:
        raise UnauthenticatedError
    verdict = rules.judge(
        used_for=used.used_for,
        session_open=used.session_open,
        grace_s=here.options.refresh_grace_s,
    )
    if verdict is Verdict.REUSED:
        await end_sessions(here, [used.session_id], noted_as="session.token_reused")
    if verdict is not Verdict.ANSWER_WAS_LOST:
        raise UnauthenticatedError
    return used


async def _announce(change: epochs.Change, ended: Sequence[queries.EndedSession]) -> None:
    change.touches(*(session_subject(session.id) for session in ended))
    events = [{"session_id": session.id, "user_id": session.user_id} for session in ended]
    await emit(change.db, "session.revoked", *events)


async def tokens_of(here: Identity, family: Family, token: RefreshToken) -> TokensOut:
    """A pair of tokens for a session: a new access token, and the refresh token given."""
    return TokensOut(
        access_token=await access_token_of(here, family, token.user_id),
        refresh_token=rules.write(token, here.secrets),
        expires_in=here.options.access_ttl_s,
    )


async def page_token_of(here: Identity, session_id: UUID) -> str:
    """An access token for a session that is carried by a browser's cookie."""
    session = await queries.select_open_session(here.db, session_id)
    if session is None:
        raise UnauthenticatedError
    return await access_token_of(here, session, session.user_id)


async def access_token_of(
    here: Identity,
    family: Family,
    user_id: UUID,
    client_id: str | None = None,
    *,
    for_api: bool = False,
) -> str:
    """A new access token for a session. A client's opens the API only when it acts for itself."""
    abroad = client_id is not None and not for_api
    now = int(datetime.now(UTC).timestamp())
    return await here.keys.sign(
        {
            "iss": here.settings.origin,
            "aud": here.settings.origin if abroad else here.options.audience,
            "sub": user_id,
            "sid": family.session_id,
            "client_id": client_id or here.options.client_id,
            "scope": " ".join(family.scopes or ()),
            "iat": now,
            "exp": now + here.options.access_ttl_s,
            "auth_time": int(family.authenticated_at.timestamp()),
            "amr": family.amr,
        }
    )
