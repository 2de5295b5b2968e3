"""People with a browser: who they are by their cookie, and whether a form is ours.

The cookie carries the session's id; it is read by pages only, never by the API, so no foreign page
can make the API act. A page's own forms are known by `Sec-Fetch-Site`, or by `Origin`, which no
foreign page can set.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from holdfast.apps.identity.access.rules import BROWSER, write_carried
from holdfast.apps.identity.guard import (
    Caller,
    identify_carried,
    require_fresh,
    require_permission,
)
from holdfast.apps.identity.login.actions import Entered
from holdfast.apps.identity.resources import Here, Identity
from holdfast.apps.identity.visitor import keep_device
from holdfast.core.callers import page_cookie
from holdfast.core.errors import ForbiddenError, UnauthenticatedError

HOME = "/account"


def begin(here: Identity, response: Response, entered: Entered) -> None:
    """Give the browser the session that has begun, and let it know its device next time."""
    expires_at: datetime = entered.session.token.expires_at
    response.set_cookie(
        page_cookie(here.settings.origin),
        write_carried(BROWSER, entered.session.session_id, expires_at, here.secrets),
        max_age=round(timedelta(seconds=here.options.refresh_ttl_s).total_seconds()),
        path="/",
        secure=_is_secure(here),
        httponly=True,
        samesite="lax",
    )
    keep_device(here, response, entered.mark)


def end(here: Identity, response: Response) -> None:
    response.delete_cookie(
        page_cookie(here.settings.origin), path="/", secure=_is_secure(here), httponly=True
    )


async def who(here: Identity, request: Request) -> Caller | None:
    """Whose browser this is, or nobody's."""
    cookie = request.cookies.get(page_cookie(here.settings.origin))
    if not cookie:
        return None
    try:
        return await identify_carried(here, request.scope, BROWSER, cookie)
    except UnauthenticatedError:
        return None


async def _person(here: Here, request: Request) -> Caller:
    caller = await who(here, request)
    if caller is None:
        raise SignedOutError
    request.state.person = caller  # the frame of the page shows who it is
    return caller


Person = Annotated[Caller, Depends(_person)]


async def _fresh_person(caller: Person) -> Caller:
    require_fresh(caller)
    return caller


FreshPerson = Annotated[Caller, Depends(_fresh_person)]


def person_with(permission: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets in only people with the permission."""

    async def permitted(caller: Person) -> Caller:
        require_permission(caller, permission)
        return caller

    return permitted


async def own_form(here: Here, request: Request) -> None:
    """A dependency of every page router: refuses what another site's page has sent."""
    if request.method in {"GET", "HEAD"}:
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site != "same-origin" and (site is not None or origin != here.settings.origin):
        raise ForeignFormError


def own_path(path: str | None) -> str:
    """Where to go on to: a path of ours, or the account's page; never another site."""
    if not path or not path.startswith("/") or "\\" in path or not path.isprintable():
        return HOME
    parts = urlsplit(path)
    return HOME if parts.scheme or parts.netloc or path.startswith("//") else path


def _is_secure(here: Identity) -> bool:
    return here.settings.origin.startswith("https://")


class SignedOutError(UnauthenticatedError):
    sentence = "Nobody is signed in in this browser."


class ForeignFormError(ForbiddenError):
    sentence = (
        "This form did not come from a page of this service. Open the page here, and try again."
    )
