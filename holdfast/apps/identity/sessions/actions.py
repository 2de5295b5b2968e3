"""Sessions begin with a sign-in, go on by refresh tokens, and end for every worker at once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from holdfast.apps.identity.access.schemas import session_subject
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.sessions import queries, rules
from holdfast.apps.identity.sessions.rules import RefreshToken, Verdict
from holdfast.apps.identity.sessions.schemas import TokensOut
from holdfast.core import epochs
from holdfast.core.errors import NotFoundError, UnauthenticatedError
from holdfast.core.outbox import emit


async def begin_session(
    here: Identity, user_id: UUID, *, ip: IPv4Address | IPv6Address, device: str
) -> TokensOut:
    """A session with its first pair of tokens, for a user who has just proved to be one."""
    now = datetime.now(UTC).replace(microsecond=0)
    token = rules.first_token(user_id, now + timedelta(seconds=here.options.refresh_ttl_s))
    session_id = await queries.insert_session(
        here.db,
        user_id=user_id,
        expires_at=token.expires_at,
        ip=ip,
        device=device,
        hash=token.hash,
    )
    return await _tokens(here, token, user_id=user_id, session_id=session_id, since=now)


async def refresh(here: Identity, token: RefreshToken) -> TokensOut:
    """Use a refresh token up, and answer its successor with a new access token."""
    rotated = await here.merged(rotate_refresh_tokens)(token)
    family = rotated or await _used_before(here, token)
    return await _tokens(
        here,
        rules.successor(token, here.secrets),
        user_id=token.user_id,
        session_id=family.session_id,
        since=family.since,
    )


async def rotate_refresh_tokens(
    here: Identity, tokens: list[RefreshToken]
) -> Sequence[queries.Rotated | None]:
    """Compare and swap many tokens; None for one that is not live. Through `here.merged`."""
    wanted = sorted(set(tokens), key=lambda token: token.hash)  # all lock in the same order
    rows = await queries.update_refresh_tokens_used(
        here.db,
        hashes=[token.hash for token in wanted],
        expiries=[token.expires_at for token in wanted],
        successors=[rules.successor(token, here.secrets).hash for token in wanted],
    )
    rotated = {row.hash: row for row in rows}
    return [rotated.get(token.hash) for token in tokens]


async def end_sessions(here: Identity, session_ids: Sequence[UUID]) -> int:
    """End sessions, however many, in one statement; answers how many were open."""
    async with epochs.change(here.lease) as change:
        ended = await queries.update_sessions_ended(change.db, session_ids)
        await _announce(change, ended)
    return len(ended)


async def end_session(here: Identity, session_id: UUID, *, owner: UUID) -> None:
    """End one session of its owner."""
    if await queries.select_open_session_owner(here.db, session_id) != owner:
        raise NotFoundError("You have no open session with this id.")
    await end_sessions(here, [session_id])


async def end_user_sessions(change: epochs.Change, user_id: UUID) -> int:
    """End all sessions of a user, as part of a change."""
    ended = await queries.update_user_sessions_ended(change.db, user_id)
    await _announce(change, ended)
    return len(ended)


async def log_out_everywhere(here: Identity, user_id: UUID) -> int:
    async with epochs.change(here.lease) as change:
        return await end_user_sessions(change, user_id)


async def _used_before(here: Identity, token: RefreshToken) -> queries.UsedToken:
    """A token that is not live: its answer was lost, or somebody else has used it, or it is old."""
    used = await queries.select_used_refresh_token(
        here.db, hash=token.hash, expires_at=token.expires_at
    )
    if used is None:
        raise UnauthenticatedError
    verdict = rules.judge(
        used_for=used.used_for,
        session_open=used.session_open,
        grace_s=here.options.refresh_grace_s,
    )
    if verdict is Verdict.REUSED:
        await end_sessions(here, [used.session_id])
    if verdict is not Verdict.ANSWER_WAS_LOST:
        raise UnauthenticatedError
    return used


async def _announce(change: epochs.Change, ended: Sequence[queries.EndedSession]) -> None:
    change.touches(*(session_subject(session.id) for session in ended))
    events = [{"session_id": session.id, "user_id": session.user_id} for session in ended]
    await emit(change.db, "session.revoked", *events)


async def _tokens(
    here: Identity, token: RefreshToken, *, user_id: UUID, session_id: UUID, since: datetime
) -> TokensOut:
    now = int(datetime.now(UTC).timestamp())
    access_token = await here.keys.sign(
        {
            "iss": here.settings.origin,
            "aud": here.options.audience,
            "sub": user_id,
            "sid": session_id,
            "client_id": here.options.client_id,
            "iat": now,
            "exp": now + here.options.access_ttl_s,
            "auth_time": int(since.timestamp()),
        }
    )
    return TokensOut(
        access_token=access_token,
        refresh_token=rules.write(token, here.secrets),
        expires_in=here.options.access_ttl_s,
    )
