"""The way in and out for people with a browser; how they come to an account is in `joining`."""

from pathlib import Path
from typing import Annotated

from fastapi import Form, Query, Request, Response

from holdfast.apps.identity import browser
from holdfast.apps.identity.browser import Person
from holdfast.apps.identity.entrance.schemas import CodeForm, PasskeyForm
from holdfast.apps.identity.frame import FramedPages, go, page_router
from holdfast.apps.identity.guard import admit_exactly
from holdfast.apps.identity.login import actions as login
from holdfast.apps.identity.login.schemas import LoginIn
from holdfast.apps.identity.passkeys import actions as passkeys
from holdfast.apps.identity.passkeys.schemas import BegunOut
from holdfast.apps.identity.resources import Here, Identity
from holdfast.apps.identity.second_factor.queries import select_factors
from holdfast.apps.identity.sessions.actions import end_sessions
from holdfast.apps.identity.step_up import actions as proving
from holdfast.apps.identity.step_up.schemas import StepUpIn
from holdfast.apps.identity.visitor import visitor_of

pages = FramedPages("entrance", Path(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)

Next = Annotated[str | None, Query(alias="next")]
Ticket = Annotated[str, Query(max_length=200)]


@router.get("/sign-in")
async def show_sign_in(here: Here, request: Request, then: Next = None) -> Response:
    if await browser.who(here, request):
        return go(browser.own_path(then))
    return pages.page(request, "sign_in.html", providers=here.providers)


@router.post("/sign-in")
async def sign_in(
    here: Here, request: Request, wanted: Annotated[LoginIn, Form()], then: Next = None
) -> Response:
    await admit_exactly(here, request.scope, "login")
    visitor = visitor_of(here, request)
    try:
        entered = await login.login(here, wanted.email, wanted.password, visitor)
    except login.SecondFactorRequiredError as due:
        return go("/sign-in/second-factor", ticket=due.ticket or "", next=browser.own_path(then))
    return _let_in(here, entered, then)


@router.get("/sign-in/second-factor")
async def show_second_factor(request: Request) -> Response:
    return pages.page(request, "second_factor.html")


@router.post("/sign-in/second-factor")
async def give_second_factor(
    here: Here,
    request: Request,
    ticket: Ticket,
    wanted: Annotated[CodeForm, Form()],
    then: Next = None,
) -> Response:
    await admit_exactly(here, request.scope, "login")
    entered = await login.complete_login(here, ticket, wanted.code, visitor_of(here, request))
    return _let_in(here, entered, then)


@router.post("/sign-in/passkey/options")
async def begin_passkey_sign_in(here: Here, request: Request) -> BegunOut:
    await admit_exactly(here, request.scope, "challenges")
    begun = await passkeys.begin_passkey_login(here)
    return BegunOut(**begun._asdict())


@router.post("/sign-in/passkey")
async def sign_in_with_passkey(
    here: Here, request: Request, wanted: Annotated[PasskeyForm, Form()], then: Next = None
) -> Response:
    await admit_exactly(here, request.scope, "login")
    entered = await passkeys.login_with_passkey(
        here,
        visitor_of(here, request),
        ticket=wanted.ticket,
        credential=wanted.credential.told(),
    )
    return _let_in(here, entered, then)


@router.get("/step-up")
async def show_step_up(here: Here, request: Request, person: Person) -> Response:
    factors = await select_factors(here.db, person.user_id)
    return pages.page(request, "step_up.html", factors=factors)


@router.post("/step-up")
async def step_up(
    here: Here,
    request: Request,
    person: Person,
    wanted: Annotated[StepUpIn, Form()],
    then: Next = None,
) -> Response:
    visitor = visitor_of(here, request)
    await proving.step_up(here, person, visitor, password=wanted.password, code=wanted.code)
    return go(browser.own_path(then))


@router.post("/step-up/passkey/options")
async def begin_passkey_step_up(here: Here, person: Person) -> BegunOut:
    begun = await passkeys.begin_passkey_step_up(here, person)
    return BegunOut(**begun._asdict())


@router.post("/step-up/passkey")
async def step_up_with_passkey(
    here: Here,
    request: Request,
    person: Person,
    wanted: Annotated[PasskeyForm, Form()],
    then: Next = None,
) -> Response:
    await passkeys.step_up_with_passkey(
        here, person, ticket=wanted.ticket, credential=wanted.credential.told()
    )
    return go(browser.own_path(then))


@router.post("/sign-out")
async def sign_out(here: Here, request: Request) -> Response:
    if person := await browser.who(here, request):
        await end_sessions(here, [person.session_id])
    response = go("/sign-in", done="signed-out")
    browser.end(here, response)
    return response


def _let_in(here: Identity, entered: login.Entered, then: str | None) -> Response:
    response = go(browser.own_path(then))
    browser.begin(here, response, entered)
    return response
