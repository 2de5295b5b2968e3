"""Signing in with a password: one attempt taken, one hash checked, everything written down."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import uuid4

from holdfast.apps.identity.accounts.queries import update_password_hash
from holdfast.apps.identity.history.actions import record_logins
from holdfast.apps.identity.history.rules import Attempt
from holdfast.apps.identity.history.schemas import Outcome
from holdfast.apps.identity.login import queries
from holdfast.apps.identity.login.rules import STRANGERS, device_mark, lane_of
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.sessions.actions import begin_session
from holdfast.apps.identity.sessions.schemas import TokensOut
from holdfast.core.errors import BusyError, UnauthenticatedError
from holdfast.core.limits import TooManyRequestsError
from holdfast.core.merge import by_key


class Visitor(NamedTuple):
    """Where an attempt to sign in comes from."""

    ip: IPv4Address | IPv6Address
    device: str
    mark: str | None


async def login(
    here: Identity, email: str, password: str, visitor: Visitor
) -> tuple[TokensOut, str]:
    """Tokens for whoever knows the password, and the mark of a device that is now known."""
    known = await here.merged(select_credentials)(email)
    account = here.secrets.sign("account", email.encode())
    user_id = known.user_id if known else None
    lane = lane_of(visitor.mark, user_id, here.secrets)

    async def record(outcome: Outcome) -> None:
        attempt = Attempt(account, user_id, visitor.ip, visitor.device, outcome)
        await here.merged(record_logins)(attempt)

    if await queries.upsert_login_lane(here.db, account=account, device=lane) is None:
        wait_s = await queries.select_login_lane_wait_s(here.db, account=account, device=lane)
        await record("delayed")
        raise TooManyFailuresError(wait_s)
    try:
        right = await here.passwords.matches(known.password_hash if known else None, password)
    except BusyError:
        await queries.update_login_lane_untaken(here.db, account=account, device=lane)
        raise
    if known is None or not right:
        await record("wrong_password" if known else "unknown_account")
        raise WrongPasswordError
    await queries.delete_login_lane(here.db, account=account, device=lane)
    await _keep_hash_current(here, known, password)
    tokens = await begin_session(here, known.user_id, ip=visitor.ip, device=visitor.device)
    await record("succeeded")
    device = uuid4() if lane == STRANGERS else lane
    return tokens, device_mark(device, known.user_id, here.secrets)


async def select_credentials(
    here: Identity, emails: list[str]
) -> Sequence[queries.Credentials | None]:
    """Many accounts in one statement. Called through `here.merged`."""

    async def by_email(wanted: list[str]) -> dict[str, queries.Credentials]:
        rows = await queries.select_credentials(here.db, wanted)
        return {row.email: row for row in rows}

    return await by_key(by_email)(emails)


async def _keep_hash_current(here: Identity, known: queries.Credentials, password: str) -> None:
    if here.passwords.outdated(known.password_hash):
        await update_password_hash(
            here.db,
            user_id=known.user_id,
            password_hash=await here.passwords.hash(password),
            checked_hash=known.password_hash,
        )


class WrongPasswordError(UnauthenticatedError):
    sentence = "The e-mail address or the password is wrong."


class TooManyFailuresError(TooManyRequestsError):
    sentence = "Too many failed attempts for this account. Wait as long as `Retry-After` says."

    def __init__(self, wait_s: float) -> None:
        seconds = str(max(1, round(wait_s + 0.5)))
        super().__init__(
            headers={
                "Retry-After": seconds,
                "RateLimit-Limit": "1",
                "RateLimit-Remaining": "0",
                "RateLimit-Reset": seconds,
            }
        )
