"""Signing in: one attempt taken, one hash checked, everything written down.

Whoever has a second factor gets a ticket for the first one, and enters with a code and the ticket.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

import msgspec

from holdfast.apps.identity import gauges
from holdfast.apps.identity.history.actions import record_logins
from holdfast.apps.identity.history.rules import Attempt
from holdfast.apps.identity.history.schemas import Outcome
from holdfast.apps.identity.login import queries
from holdfast.apps.identity.login.rules import (
    STRANGERS,
    device_mark,
    lane_of,
    password_lanes,
    second_factor_lanes,
)
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.second_factor.actions import WrongCodeError, use_code
from holdfast.apps.identity.sessions.actions import Begun, begin_session
from holdfast.apps.identity.tickets.actions import TicketRefusedError, issue, peek, redeem
from holdfast.apps.identity.visitor import Visitor
from holdfast.core.errors import BusyError, ForbiddenError, UnauthenticatedError
from holdfast.core.limits import TooManyRequestsError
from holdfast.core.merge import by_key

SECOND_STEP = "second_factor"
SECOND_STEP_TAKES = timedelta(minutes=10)


class Person(Protocol):
    """An account that somebody has proved to own."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def email(self) -> str: ...
    @property
    def banned(self) -> bool: ...
    @property
    def ban_reason(self) -> str | None: ...
    @property
    def password_changed_at(self) -> datetime | None: ...


class Beginner(Person, Protocol):
    """A person who has proved it by one factor."""

    @property
    def second_factor(self) -> bool: ...


class FirstStep(msgspec.Struct, frozen=True):
    """What a ticket for the second step stands for; it is void once the password has changed."""

    user_id: UUID
    amr: Sequence[str]
    password_changed_at: datetime | None


class Claim(NamedTuple):
    """Whose account somebody claims to own; no id if there is none."""

    email: str
    user_id: UUID | None


class Entered(NamedTuple):
    """Somebody is in: their session, and the mark by which their device is known next time."""

    user_id: UUID
    session: Begun
    mark: str


async def login(here: Identity, email: str, password: str, visitor: Visitor) -> Entered:
    """A session for whoever knows the password, and has no second factor."""
    known = await here.merged(select_credentials)(email)
    claim = Claim(email, known.user_id if known else None)
    failure: Outcome = "wrong_password" if known else "unknown_account"
    lanes = password_lanes(email, here.secrets)
    async with guess(here, claim, visitor, lanes, failure=failure):
        right = await here.passwords.matches(known.password_hash if known else None, password)
        if known is None or not right:
            raise WrongPasswordError
    await _keep_hash_current(here, known, password)
    return await enter_by_one_factor(here, known, visitor, ("pwd",))


async def complete_login(here: Identity, ticket: str, code: str, visitor: Visitor) -> Entered:
    """The second step: a session for whoever has the ticket of the first one, and a code."""
    first = await peek(here.db, here.secrets, SECOND_STEP, ticket, FirstStep)
    person = await queries.select_person(here.db, first.user_id)
    if person is None or person.password_changed_at != first.password_changed_at:
        raise TicketRefusedError
    claim = Claim(person.email, person.user_id)
    lanes = second_factor_lanes(person.user_id, here.secrets)
    async with (
        guess(here, claim, visitor, lanes, failure="wrong_second_factor"),
        here.db.transaction() as db,
    ):
        await redeem(db, here.secrets, SECOND_STEP, ticket, FirstStep)
        await use_code(db, here.secrets, person.user_id, code)
    return await enter(here, person, visitor, (*first.amr, "otp", "mfa"))


@asynccontextmanager
async def guess(
    here: Identity, claim: Claim, visitor: Visitor, lanes: bytes, *, failure: Outcome
) -> AsyncIterator[None]:
    """One attempt at a secret, taken before anything is checked: parallel ones are no more of them.

    A wrong one is written down and stays counted in the visitor's lane; a right one empties it.
    """
    lane = lane_of(visitor.mark, claim.user_id, here.secrets)
    if await queries.upsert_login_lane(here.db, account=lanes, device=lane) is None:
        wait_s = await queries.select_login_lane_wait_s(here.db, account=lanes, device=lane)
        await record_attempt(here, *claim, visitor, "delayed")
        raise TooManyFailuresError(wait_s)
    try:
        yield
    except BusyError:
        await queries.update_login_lane_untaken(here.db, account=lanes, device=lane)
        raise
    except (WrongPasswordError, WrongCodeError):
        await record_attempt(here, *claim, visitor, failure)
        raise
    await queries.delete_login_lane(here.db, account=lanes, device=lane)


async def enter_by_one_factor(
    here: Identity, person: Beginner, visitor: Visitor, amr: Sequence[str]
) -> Entered:
    """Let a person in, unless a second factor is due: then a ticket says that the first is done."""
    if not person.second_factor:
        return await enter(here, person, visitor, amr)
    ticket = await issue(
        here.db,
        here.secrets,
        SECOND_STEP,
        FirstStep(person.user_id, amr, person.password_changed_at),
        lifetime=SECOND_STEP_TAKES,
        user_id=person.user_id,
    )
    raise SecondFactorRequiredError(ticket)


async def enter(here: Identity, person: Person, visitor: Visitor, amr: Sequence[str]) -> Entered:
    """Let in whoever has proved to be this person, in the ways that `amr` names (RFC 8176)."""
    if person.banned:
        await record_attempt(here, person.email, person.user_id, visitor, "banned")
        raise BannedError(person.ban_reason)
    lane = lane_of(visitor.mark, person.user_id, here.secrets)
    session = await begin_session(
        here,
        person.user_id,
        visitor,
        amr,
        password_changed_at=person.password_changed_at,
        new_device=lane == STRANGERS,
    )
    await record_attempt(here, person.email, person.user_id, visitor, "succeeded")
    device = uuid4() if lane == STRANGERS else lane
    return Entered(person.user_id, session, device_mark(device, person.user_id, here.secrets))


async def record_attempt(
    here: Identity, email: str, user_id: UUID | None, visitor: Visitor, outcome: Outcome
) -> None:
    gauges.attempts.of(outcome).add()
    account = password_lanes(email, here.secrets)
    attempt = Attempt(account, user_id, visitor.ip, visitor.device, outcome)
    await here.merged(record_logins)(attempt)


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
        await queries.update_password_rehashed(
            here.db,
            user_id=known.user_id,
            password_hash=await here.passwords.hash(password),
            checked_hash=known.password_hash,
        )


class WrongPasswordError(UnauthenticatedError):
    sentence = "The e-mail address or the password is wrong."


class SecondFactorRequiredError(UnauthenticatedError):
    """The first factor was right. With a ticket, `complete_login` goes on from here."""

    sentence = "Send a code of your authenticator app as well, or a recovery code."
    methods = ("totp", "recovery_code")

    def __init__(self, ticket: str | None = None) -> None:
        super().__init__()
        self.ticket = ticket
        self.extra = {"methods": self.methods} | ({"ticket": ticket} if ticket else {})


class BannedError(ForbiddenError):
    def __init__(self, reason: str | None) -> None:
        self.reason = reason
        told = f" The reason given: {reason}" if reason else ""
        super().__init__(f"This account is closed by an administrator.{told}")


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
