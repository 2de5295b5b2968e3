"""Social login: people come from a provider and are let in, linked with an account, or given one."""

from datetime import timedelta
from hmac import compare_digest
from secrets import token_urlsafe
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.identity.accounts.actions import EVERYONE, require_way_in
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller, require_verified
from holdfast.apps.identity.login.actions import Entered, enter
from holdfast.apps.identity.login.queries import select_person
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.queries import insert_user_role
from holdfast.apps.identity.sessions.actions import end_sessions
from holdfast.apps.identity.social import queries
from holdfast.apps.identity.social.client import Provider
from holdfast.apps.identity.social.rules import (
    Enter,
    Link,
    LinkedElsewhereError,
    ProviderRefusedError,
    Register,
    decide_entry,
    decide_link,
)
from holdfast.apps.identity.social.schemas import Flow, Profile, ProviderName, Returned
from holdfast.apps.identity.tickets.actions import TicketRefusedError, issue, redeem
from holdfast.apps.identity.visitor import Visitor
from holdfast.core.db import Executor
from holdfast.core.errors import ForbiddenError, NotFoundError
from holdfast.core.outbox import emit

PURPOSE = "social"
LIFETIME = timedelta(minutes=10)
FEDERATED = "fed"  # RFC 8176 has no name for it; this is the one that others use


class Begun(NamedTuple):
    """Where the browser goes, and what it must bring back."""

    url: str
    state: str


def provider_of(here: Identity, name: str) -> Provider:
    if name not in here.providers:
        raise NotFoundError("Nobody can sign in by this provider here.")
    return here.providers[name]


async def begin(here: Identity, name: ProviderName, then: str, linking: Caller | None) -> Begun:
    """Send a browser to a provider: to sign somebody in, or to link their account."""
    provider = provider_of(here, name)
    if linking:
        require_verified(linking)
    flow = Flow(
        provider=name,
        verifier=token_urlsafe(32),
        nonce=token_urlsafe(16),
        next=then,
        session_id=linking.session_id if linking else None,
    )
    user_id = linking.user_id if linking else None
    state = await issue(here.db, here.secrets, PURPOSE, flow, lifetime=LIFETIME, user_id=user_id)
    return Begun(provider.authorize_url(flow, state, redirect_uri(here, name)), state)


async def take_flow(here: Identity, name: ProviderName, state: str, cookie: str) -> Flow:
    """What this browser has begun, once; a state that it was not given is worth nothing."""
    if not compare_digest(state.encode(), cookie.encode()):
        raise TicketRefusedError
    flow = await redeem(here.db, here.secrets, PURPOSE, state, Flow)
    if flow.provider != name:
        raise TicketRefusedError
    return flow


async def fetch_profile(here: Identity, flow: Flow, returned: Returned) -> Profile:
    """Who the provider says it is."""
    provider = provider_of(here, flow.provider)
    if returned.iss not in (provider.at.issuer, None):
        raise ProviderRefusedError
    if returned.error == "access_denied":
        raise SignInDeclinedError
    if returned.error or not returned.code:
        raise ProviderRefusedError
    return await provider.profile(flow, returned.code, redirect_uri(here, flow.provider))


async def sign_in(here: Identity, profile: Profile, language: str, visitor: Visitor) -> Entered:
    """A session for whoever has proved to the provider who they are.

    The provider stands for all factors: it is linked by whoever had shown them, or by a verified
    address where there is no second one.
    """
    async with here.db.transaction() as db:
        user_id = await _account_of(db, profile, language)
    person = await select_person(here.db, user_id)
    if person is None:
        raise TicketRefusedError  # the account was deleted at this very moment
    return await enter(here, person, visitor, (FEDERATED, profile.provider))


async def link(here: Identity, profile: Profile, caller: Caller) -> None:
    """Let the caller sign in by this provider from now on."""
    require_verified(caller)
    async with here.db.transaction() as db:
        while True:  # until nobody has changed meanwhile what the decision rests on
            account = await queries.lock_account(
                db, provider=profile.provider, user_id=caller.user_id, email=None
            )
            if account is None:
                raise TicketRefusedError
            owner = await queries.select_link_owner(
                db, provider=profile.provider, provider_id=profile.provider_id
            )
            decision = decide_link(owner=owner, linking=account)
            if isinstance(decision, Enter) or await _link(db, profile, account):
                return


async def unlink(here: Identity, caller: Caller, provider: ProviderName) -> None:
    """The provider lets nobody in any more; refused for the last way in."""
    async with here.db.transaction() as db:
        account = await queries.lock_account(
            db, provider=provider, user_id=caller.user_id, email=None
        )
        if account is None or not await _unlink(db, provider, account, caller.user_id):
            raise NotFoundError("Your account is not linked with this provider.")
        await require_way_in(db, caller.user_id)


async def handle_kakao_unlink(here: Identity, kakao_id: str) -> None:
    """Somebody has told Kakao that we are to forget them.

    The sessions end first: a call that is repeated because it broke off finds the link until
    everything is done. The account stays, and its owner can set a password by mail.
    """
    owner = await queries.select_link_owner(here.db, provider="kakao", provider_id=kakao_id)
    if owner is None:
        return
    await end_sessions(
        here, await queries.select_sessions_begun_by(here.db, user_id=owner, way="kakao")
    )
    async with here.db.transaction() as db:
        account = await queries.lock_account(db, provider="kakao", user_id=owner, email=None)
        if account:
            await _unlink(db, "kakao", account, None)


def redirect_uri(here: Identity, name: ProviderName) -> str:
    return f"{here.settings.origin}/auth/social/{name}/callback"


async def _account_of(db: Executor, profile: Profile, language: str) -> UUID:
    """Whose account it is, made or linked if need be.

    Two browsers may arrive at once: whoever comes second finds what the first has made.
    """
    link = {"provider": profile.provider, "provider_id": profile.provider_id}
    while True:
        owner = await queries.select_link_owner(db, **link)
        account = None
        if owner is None and profile.email:
            account = await queries.lock_account(
                db, provider=profile.provider, user_id=None, email=profile.email
            )
            owner = await queries.select_link_owner(
                db, **link
            )  # made while the lock was waited for
        match decide_entry(profile, owner=owner, local=account):
            case Enter(user_id):
                await queries.update_link_email(
                    db,
                    provider=profile.provider,
                    provider_id=profile.provider_id,
                    email=profile.email,
                )
                return user_id
            case Link() if account and await _link(db, profile, account):
                return account.user_id
            case Register(email):
                registered = await _register(db, profile, email, language)
                if registered:
                    return registered


async def _register(db: Executor, profile: Profile, email: str, language: str) -> UUID | None:
    """A new account, unless somebody else has just made one with this address."""
    user_id = await queries.insert_verified_user(db, email=email, language=language)
    if user_id is None:
        return None
    if not await _insert_link(db, profile, user_id):
        raise LinkedElsewhereError  # at this very moment, by hand
    await insert_user_role(db, user_id=user_id, role=EVERYONE)
    await emit(db, "user.registered", {"user_id": user_id, "email": email})
    return user_id


async def _link(db: Executor, profile: Profile, account: queries.Account) -> bool:
    """Link an account that is there already, and tell its owner."""
    linked = await _insert_link(db, profile, account.user_id)
    if linked:
        await post(db, "account_linked", account.email, account.language, provider=profile.provider)
    return linked


async def _insert_link(db: Executor, profile: Profile, user_id: UUID) -> bool:
    linked = await queries.insert_link(
        db,
        provider=profile.provider,
        provider_id=profile.provider_id,
        user_id=user_id,
        email=profile.email,
    )
    if linked:
        await record(db, "account.linked", actor=user_id, user=user_id, provider=profile.provider)
    return bool(linked)


async def _unlink(
    db: Executor, provider: ProviderName, account: queries.Account, actor: UUID | None
) -> bool:
    unlinked = await queries.delete_link(db, user_id=account.user_id, provider=provider)
    if unlinked:
        await record(db, "account.unlinked", actor=actor, user=account.user_id, provider=provider)
        await post(db, "account_unlinked", account.email, account.language, provider=provider)
    return bool(unlinked)


class SignInDeclinedError(ForbiddenError):
    sentence = "You did not allow the provider to tell us who you are."
