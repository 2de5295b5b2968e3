"""How people come to an account, and back to it: registered, verified, reset.

A link in a mail opens a page with a button, and only the button uses the ticket up: programs that
look at links before people do leave it as it is.
"""

from pathlib import Path
from typing import Annotated

from fastapi import Form, Request, Response

from holdfast.apps.identity import browser
from holdfast.apps.identity.accounts import actions as accounts
from holdfast.apps.identity.accounts.schemas import RegisterIn
from holdfast.apps.identity.addresses import actions as addresses
from holdfast.apps.identity.frame import FramedPages, go, page_router
from holdfast.apps.identity.guard import admit_exactly
from holdfast.apps.identity.joining.schemas import NewPasswordForm, Ticket
from holdfast.apps.identity.passwords import SHORTEST
from holdfast.apps.identity.recovery import actions as recovery
from holdfast.apps.identity.recovery.schemas import RequestResetIn
from holdfast.apps.identity.resources import Here, Identity
from holdfast.shell.language import choose_language

pages = FramedPages("joining", Path(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)


@router.get("/register")
async def show_register(request: Request) -> Response:
    return pages.page(request, "register.html", shortest=SHORTEST)


@router.post("/register")
async def register(here: Here, request: Request, wanted: Annotated[RegisterIn, Form()]) -> Response:
    await admit_exactly(here, request.scope, "register")
    await accounts.register(
        here,
        email=wanted.email,
        password=wanted.password,
        name=wanted.name,
        language=choose_language(request),
    )
    return go("/register/sent")


@router.get("/register/sent")
async def show_registered(here: Here, request: Request) -> Response:
    return pages.page(request, "sent.html", told_by="register_sent", mails=_shows_mails(here))


@router.get("/verify-email")
async def show_verify_email(request: Request, ticket: Ticket = "") -> Response:
    return pages.page(request, "verify_email.html")


@router.post("/verify-email")
async def verify_email(here: Here, request: Request, ticket: Ticket = "") -> Response:
    await addresses.verify_email(here, ticket)
    return await _go_home(here, request, done="email-verified")


@router.get("/confirm-email")
async def show_confirm_email(request: Request, ticket: Ticket = "") -> Response:
    return pages.page(request, "confirm_email.html")


@router.post("/confirm-email")
async def confirm_email(here: Here, request: Request, ticket: Ticket = "") -> Response:
    await addresses.confirm_email(here, ticket)
    return await _go_home(here, request, done="email-changed")


@router.get("/reset")
async def show_reset(request: Request) -> Response:
    return pages.page(request, "reset.html")


@router.post("/reset")
async def request_reset(
    here: Here, request: Request, wanted: Annotated[RequestResetIn, Form()]
) -> Response:
    await admit_exactly(here, request.scope, "reset")
    await recovery.request_reset(here, email=wanted.email, language=choose_language(request))
    return go("/reset/sent")


@router.get("/reset/sent")
async def show_reset_sent(here: Here, request: Request) -> Response:
    return pages.page(request, "sent.html", told_by="reset_sent", mails=_shows_mails(here))


@router.get("/reset-password")
async def show_reset_password(request: Request, ticket: Ticket = "") -> Response:
    return pages.page(request, "reset_password.html", shortest=SHORTEST)


@router.post("/reset-password")
async def reset_password(
    here: Here,
    request: Request,
    wanted: Annotated[NewPasswordForm, Form()],
    ticket: Ticket = "",
) -> Response:
    await admit_exactly(here, request.scope, "login")
    await recovery.reset_password(here, ticket=ticket, new_password=wanted.new_password)
    response = go("/sign-in", done="password-reset")
    browser.end(here, response)
    return response


async def _go_home(here: Identity, request: Request, *, done: str) -> Response:
    signed_in = await browser.who(here, request)
    return go(browser.HOME if signed_in else "/sign-in", done=done)


def _shows_mails(here: Identity) -> bool:
    """Without a mail server the mails wait on a page, in development."""
    return here.settings.profile == "development" and here.options.smtp_url is None
