"""Step-up: whoever is signed in proves once more to be who they are, for what needs a fresh proof.

It asks for all that a sign-in asks for: whoever has found an unlocked phone has the authenticator
app on it, but not the password. A passkey proves it too: see `passkeys`, which calls `renew`.
"""

from collections.abc import Sequence

from holdfast.apps.identity.access.schemas import session_subject
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller, proved_at
from holdfast.apps.identity.login.actions import (
    Claim,
    SecondFactorRequiredError,
    WrongPasswordError,
    guess,
)
from holdfast.apps.identity.login.rules import password_lanes, second_factor_lanes
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.second_factor.actions import use_code
from holdfast.apps.identity.sessions.actions import access_token_of
from holdfast.apps.identity.sessions.queries import update_session_authenticated
from holdfast.apps.identity.step_up import queries
from holdfast.apps.identity.step_up.schemas import AccessOut
from holdfast.apps.identity.visitor import Visitor
from holdfast.core import epochs
from holdfast.core.errors import ForbiddenError, UnauthenticatedError


async def step_up(
    here: Identity, caller: Caller, visitor: Visitor, *, password: str | None, code: str | None
) -> AccessOut:
    """Check the proofs that this account's sign-in asks for, then let the session count as fresh."""
    proved_at(caller)
    own = await queries.select_proofs(here.db, caller.user_id)
    if own is None or (own.password_hash is None and not own.second_factor):
        raise NothingToProveByError
    if own.second_factor and code is None:
        raise SecondFactorRequiredError
    if own.password_hash is not None and password is None:
        raise PasswordRequiredError
    claim = Claim(own.email, caller.user_id)
    proved = []
    if password is not None:
        lanes = password_lanes(own.email, here.secrets)
        async with guess(here, claim, visitor, lanes, failure="wrong_password"):
            if not await here.passwords.matches(own.password_hash, password):
                raise WrongPasswordError("The password is wrong.")
        proved += ["pwd"]
    if code is not None:
        lanes = second_factor_lanes(caller.user_id, here.secrets)
        async with (
            guess(here, claim, visitor, lanes, failure="wrong_second_factor"),
            here.db.transaction() as db,
        ):
            await use_code(db, here.secrets, caller.user_id, code)
        proved += ["otp"]
    return await renew(here, caller, proved)


async def renew(here: Identity, caller: Caller, amr: Sequence[str]) -> AccessOut:
    """The caller has just proved to be who they are, in the ways that `amr` names (RFC 8176)."""
    async with epochs.change(here.lease) as change:
        session = await update_session_authenticated(
            change.db, session_id=caller.session_id, amr=amr
        )
        if session is None:
            raise UnauthenticatedError
        await record(
            change.db, "session.stepped_up", actor=caller.user_id, user=caller.user_id, amr=amr
        )
        change.touches(session_subject(caller.session_id))
    return AccessOut(
        access_token=await access_token_of(here, session, caller.user_id, session.client_id),
        expires_in=here.options.access_ttl_s,
    )


class PasswordRequiredError(UnauthenticatedError):
    sentence = "This needs your password as well: send it as `password`."


class NothingToProveByError(ForbiddenError):
    sentence = (
        "You have neither a password nor an authenticator app. Use a passkey, or sign in again."
    )
