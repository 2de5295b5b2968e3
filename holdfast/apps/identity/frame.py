"""The frame of identity's pages: who is signed in, what went wrong, and where to go on.

A form posts to its page's own address or to one below it. What goes wrong there is told on that
page, beside the field that caused it, in the reader's language and with the problem's own status.
Whoever is not signed in, or not lately enough, is sent to prove it and comes back.
"""

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from holdfast.apps.identity.browser import ForeignFormError, SignedOutError, own_form
from holdfast.apps.identity.devices import read_device
from holdfast.apps.identity.guard import StepUpRequiredError
from holdfast.apps.identity.resources import Identity
from holdfast.core.errors import (
    InvalidError,
    MalformedError,
    ProblemError,
    TooLargeError,
    problem_name,
)
from holdfast.core.web import problem_of
from holdfast.shell.pages import Pages

COMMON = Path(__file__).with_name("pages")
ONCE = ("lang", "done", "problem")  # what an address tells one page and no other
NEVER_ON_A_FORM = (ForeignFormError, MalformedError, TooLargeError)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
log = logging.getLogger(__name__)


class FramedPages(Pages):
    """One feature's pages in identity's frame."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, *dict.fromkeys((COMMON, folder)))
        self._templates.filters["when"] = _when
        self._templates.filters["device"] = read_device

    def page(self, request: Request, template: str, **context: Any) -> Response:
        response = super().page(
            request,
            template,
            person=getattr(request.state, "person", None),
            trouble=getattr(request.state, "trouble", None),
            told=request.query_params,
            kept=_kept_query(request),
            **context,
        )
        response.headers["Cache-Control"] = "no-store"
        return response


def page_router() -> APIRouter:
    return APIRouter(
        route_class=PageRoute, include_in_schema=False, dependencies=[Depends(own_form)]
    )


def go(path: str, **query: str) -> Response:
    """On to another page, after a form was accepted."""
    joint = "&" if "?" in path else "?"
    return RedirectResponse(path + (joint + urlencode(query) if query else ""), status_code=303)


class PageRoute(APIRoute):
    """A page, or a form of one: answers people, where other routes answer programs."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            if address := _proper_address(request):
                return RedirectResponse(address)
            try:
                return await handle(request)
            except Exception as error:
                if problem_of(error).status == HTTPStatus.INTERNAL_SERVER_ERROR:
                    log.exception("A page failed")
                return await _tell(request, error)

        return answer


@dataclass(frozen=True)
class Wrong:
    """What is wrong with one field: keys of words, the best first, and what they speak of."""

    keys: Sequence[str]
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Trouble:
    """What went wrong, for the page that tells it."""

    form: str
    status: int
    keys: Sequence[str]
    values: dict[str, Any]
    fields: dict[str, Wrong]
    entered: dict[str, str]
    retry_after_s: int
    told: bool = False

    def tell(self) -> Sequence[str]:
        """Keys of words, the best first; and a page has had a place for them."""
        self.told = True
        return self.keys

    @classmethod
    def of(cls, request: Request, error: Exception, entered: dict[str, str]) -> "Trouble":
        problem = problem_of(error)
        return cls(
            form=request.url.path,
            status=problem.status,
            keys=[f"problem_{name}" for name in _names(problem)],
            values={"reason": getattr(problem, "reason", None) or ""},
            fields=_wrong_fields(error),
            entered=entered,
            retry_after_s=int(problem.headers.get("Retry-After", 0)),
        )


class ShownAgain(Response):
    """The page whose form it was, with what went wrong; that alone if the page has no place for it."""

    def __init__(self, path: str, trouble: Trouble) -> None:
        super().__init__()
        self._path = path
        self._trouble = trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shown: list[Message] = []

        async def collect(message: Message) -> None:
            shown.append(message)

        request = Request(scope)
        request.state.trouble = self._trouble
        await request.app.router(_asked(scope, self._path), receive, collect)
        if shown[0]["status"] != HTTPStatus.OK or not self._trouble.told:
            await _problem_page(request, self._trouble)(scope, receive, send)
            return
        shown[0]["status"] = self._trouble.status
        shown[0]["headers"] += _retry_header(self._trouble)
        for message in shown:
            await send(message)


async def _tell(request: Request, error: Exception) -> Response:
    page = _page_of(request)
    back = (page or "/account") + _kept_query(request)
    if isinstance(error, SignedOutError):
        return go("/sign-in", next=back)
    if isinstance(error, StepUpRequiredError):
        return go("/step-up", next=back)
    problem = problem_of(error)
    if request.method == "POST" and page and not isinstance(problem, NEVER_ON_A_FORM):
        form = await request.form()
        entered = {key: value for key, value in form.items() if isinstance(value, str)}
        return ShownAgain(page, Trouble.of(request, error, entered))
    return _problem_page(request, Trouble.of(request, error, {}))


def _problem_page(request: Request, trouble: Trouble) -> Response:
    request.state.trouble = trouble
    response = PROBLEMS.page(request, "problem.html")
    response.status_code = trouble.status
    response.raw_headers.extend(_retry_header(trouble))
    return response


def _page_of(request: Request) -> str | None:
    """The page that a form belongs to: at its own address, or the nearest above."""
    path = request.url.path
    while path not in {"", "/"}:
        scope = _asked(request.scope, path)
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            return path
        path = path.rpartition("/")[0]
    return None


def _asked(scope: Scope, path: str) -> Scope:
    """The same request, if it had asked for that page."""
    routing = {"fastapi", "path_params", "endpoint", "route"}
    asked = {key: value for key, value in scope.items() if key not in routing}
    return asked | {"method": "GET", "path": path, "raw_path": path.encode()}


def _proper_address(request: Request) -> str | None:
    """Passkeys and the cookie belong to the origin's host, so pages are read there only.

    A trusted proxy has decided about the host already, and may have told us another one.
    """
    here: Identity = request.app.state.identity
    if request.method not in {"GET", "HEAD"} or here.settings.trusted_proxies:
        return None
    if request.headers.get("host") == urlsplit(here.settings.origin).netloc:
        return None
    query = f"?{request.url.query}" if request.url.query else ""
    return here.settings.origin + quote(request.url.path) + query


def _kept_query(request: Request) -> str:
    kept = [(key, value) for key, value in request.query_params.multi_items() if key not in ONCE]
    return f"?{urlencode(kept)}" if kept else ""


def _names(problem: ProblemError) -> list[str]:
    """The problem's own name, then those of what it is a case of; a bare status last."""
    kinds = [kind for kind in type(problem).__mro__ if issubclass(kind, ProblemError)]
    names = [problem_name(kind) for kind in kinds if kind is not ProblemError]
    return [*names, str(int(problem.status)), "fault"]


def _wrong_fields(error: Exception) -> dict[str, Wrong]:
    if isinstance(error, RequestValidationError):
        return {
            str(one["loc"][-1]): _wrong_input(str(one["loc"][-1]), one)
            for one in reversed(error.errors())
        }
    if isinstance(error, InvalidError):
        return {
            str(one["field"]): Wrong([one["message"], f"wrong_{one['field']}", "wrong_input"])
            for one in error.extra.get("errors", ())
        }
    return {}


def _wrong_input(name: str, one: dict[str, Any]) -> Wrong:
    kind = one["type"]
    keys = [f"wrong_{name}_{kind}", f"wrong_{kind}", f"wrong_{name}", "wrong_input"]
    return Wrong(keys, one.get("ctx") or {})


def _retry_header(trouble: Trouble) -> list[tuple[bytes, bytes]]:
    seconds = trouble.retry_after_s
    return [(b"retry-after", str(seconds).encode())] if seconds else []


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


PROBLEMS = FramedPages("identity", COMMON)
