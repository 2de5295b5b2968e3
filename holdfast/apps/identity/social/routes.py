"""Social login: pages on the way to a provider and back, and the links of an account."""

from hmac import compare_digest
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from holdfast.apps.identity import browser
from holdfast.apps.identity.browser import SignedOutError, own_path
from holdfast.apps.identity.frame import go, page_router
from holdfast.apps.identity.guard import (
    Caller,
    FreshlySignedIn,
    SignedIn,
    admit_exactly,
    require_fresh,
)
from holdfast.apps.identity.resources import Here, Identity
from holdfast.apps.identity.sessions.actions import end_sessions
from holdfast.apps.identity.social import actions, queries
from holdfast.apps.identity.social.schemas import (
    Flow,
    KakaoUnlinkIn,
    LinkedOut,
    ProviderName,
    Returned,
)
from holdfast.apps.identity.tickets.actions import TicketRefusedError
from holdfast.apps.identity.visitor import visitor_of
from holdfast.apps.identity.wire import Data
from holdfast.core.errors import ProblemError, UnauthenticatedError, problem_name
from holdfast.shell.language import choose_language

router = APIRouter(prefix="/api/v1")
pages = page_router()


@pages.get("/auth/social/{provider}")
async def begin_social(
    here: Here,
    request: Request,
    provider: ProviderName,
    next: str | None = None,  # noqa: A002 - what everybody calls it
    link: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> Response:
    """Send the browser to the provider, with something that only it can bring back."""
    await admit_exactly(here, request.scope, "social")
    linking = await _fresh_person(here, request) if link else None
    begun = await actions.begin(here, provider, own_path(next), linking)
    response = go(begun.url)
    response.set_cookie(
        _cookie(here),
        begun.state,
        max_age=round(actions.LIFETIME.total_seconds()),
        path="/",
        secure=_is_secure(here),
        httponly=True,
        samesite="lax",  # it must come along when the provider sends the browser back
    )
    return response


@pages.get("/auth/social/{provider}/callback")
async def end_social(
    here: Here,
    request: Request,
    provider: ProviderName,
    returned: Annotated[Returned, Query()],
) -> Response:
    """Let in, or link, whoever comes back; whatever goes wrong leaves neither session nor link."""
    cookie = request.cookies.get(_cookie(here), "")
    flow = None
    try:
        flow = await actions.take_flow(here, provider, returned.state, cookie)
        response = await _finish(here, request, flow, returned)
    except ProblemError as problem:
        response = _tell(flow, problem)
    response.delete_cookie(_cookie(here), path="/", secure=_is_secure(here), httponly=True)
    return response


async def _finish(here: Identity, request: Request, flow: Flow, returned: Returned) -> Response:
    profile = await actions.fetch_profile(here, flow, returned)
    caller = await browser.who(here, request)
    response = go(flow.next)
    if flow.session_id:
        if caller is None or caller.session_id != flow.session_id:
            raise TicketRefusedError
        await actions.link(here, profile, caller)
        return response
    entered = await actions.sign_in(
        here, profile, choose_language(request), visitor_of(here, request)
    )
    browser.begin(here, response, entered)
    if caller:  # this browser carries the new session from now on, and nobody the one before
        await end_sessions(here, [caller.session_id])
    return response


def _tell(flow: Flow | None, problem: ProblemError) -> Response:
    name = problem_name(type(problem))
    if flow is None:
        return go("/sign-in", problem=name)
    if flow.session_id:
        return go(flow.next, problem=name)
    return go("/sign-in", next=flow.next, problem=name)


@router.get("/auth/social")
async def list_providers(here: Here) -> Data[list[str]]:
    return Data(data=list(here.providers))


@router.get("/users/me/linked")
async def list_linked(here: Here, caller: SignedIn) -> Data[list[LinkedOut]]:
    rows = await queries.select_links(here.db, caller.user_id)
    return Data(data=[LinkedOut(**row._asdict()) for row in rows])


@router.delete("/users/me/linked/{provider}", status_code=204)
async def unlink(here: Here, caller: FreshlySignedIn, provider: ProviderName) -> Response:
    await actions.unlink(here, caller, provider)
    return Response(status_code=204)


async def _kakao_itself(here: Here, request: Request) -> None:
    """Only Kakao knows the admin key, besides us; whoever has not configured it has no Kakao."""
    key = here.options.kakao_admin_key
    told = request.headers.get("authorization", "")
    if key is None or not compare_digest(told.encode(), f"KakaoAK {key}".encode()):
        raise UnauthenticatedError


@router.post("/auth/social/kakao/unlink", dependencies=[Depends(_kakao_itself)])
async def handle_kakao_unlink(here: Here, told: Annotated[KakaoUnlinkIn, Form()]) -> Response:
    await actions.handle_kakao_unlink(here, told.user_id)
    return Response()  # Kakao takes nothing but 200


async def _fresh_person(here: Identity, request: Request) -> Caller:
    caller = await browser.who(here, request)
    if caller is None:
        raise SignedOutError
    require_fresh(caller)
    return caller


def _cookie(here: Identity) -> str:
    """The prefix keeps neighbouring hosts from giving a browser a state of theirs."""
    return "__Host-holdfast-social" if _is_secure(here) else "holdfast_social"


def _is_secure(here: Identity) -> bool:
    return here.settings.origin.startswith("https://")
