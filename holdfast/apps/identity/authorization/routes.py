"""The pages that a client sends people to, and their consents.

A form's answer must not redirect to a client: browsers hold the whole chain to the form's own policy
(`form-action`). So whoever comes from a form goes on by a page, `/oauth/continue` or its like.
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi import Path as InPath

from holdfast.apps.identity import browser
from holdfast.apps.identity.authorization import actions, queries, rules
from holdfast.apps.identity.authorization.rules import Ask, Step
from holdfast.apps.identity.authorization.schemas import ConsentOut
from holdfast.apps.identity.client_auth import Parameters, single
from holdfast.apps.identity.clients.actions import find_client
from holdfast.apps.identity.clients.schemas import Client, ClientId
from holdfast.apps.identity.frame import FramedPages, PageRoute, go, page_router
from holdfast.apps.identity.guard import InPerson, SignedIn
from holdfast.apps.identity.oauth import OAuthError
from holdfast.apps.identity.resources import Here, Identity
from holdfast.apps.identity.wire import Page, PageOf, TextPosition, next_cursor
from holdfast.core.errors import MalformedError

AUTHORIZE = "/oauth/authorize"
LOGOUT = "/oauth/logout"
pages = FramedPages("authorization", Path(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)
by_form = APIRouter(route_class=PageRoute, include_in_schema=False)
api = APIRouter(prefix="/api/v1")


async def _told(request: Request) -> dict[str, str]:
    try:
        return single(request.query_params.multi_items())
    except OAuthError as refused:
        raise MalformedError(refused.detail) from None


Told = Annotated[dict[str, str], Depends(_told)]


class Asking(NamedTuple):
    """A request of a client that is known, for an answer to an address that is its own."""

    client: Client
    told: dict[str, str]
    issuer: str

    @property
    def ask(self) -> Ask:
        return rules.read_ask(self.told, self.client.scopes)

    def address(self, **answer: str | None) -> str:
        """Where the answer goes; it names its issuer, so that clients of several can tell."""
        return rules.answer_address(
            self.told["redirect_uri"], **answer, state=self.told.get("state"), iss=self.issuer
        )

    def refusal(self, refused: OAuthError) -> str:
        return self.address(error=refused.error, error_description=refused.detail)


async def _asking(here: Here, told: Told) -> Asking:
    return Asking(await actions.find_asking_client(here, told), told, here.settings.origin)


Asked = Annotated[Asking, Depends(_asking)]


@router.get(AUTHORIZE)
async def authorize(here: Here, request: Request, asking: Asked) -> Response:
    request.state.person = caller = await browser.who(here, request)
    try:
        ask = asking.ask
        hint = asking.told.get("id_token_hint")
        step = await actions.weigh(here, asking.client, ask, caller, hint)
        if caller is None or step is Step.SIGN_IN:
            return go("/sign-in", next=_once_proved(asking))
        if step is Step.PROVE:
            return go("/step-up", next=_once_proved(asking))
        if step is Step.CONSENT:
            return pages.page(request, "consent.html", client=asking.client, scopes=ask.scopes)
        code = await actions.issue_code(here, asking.client, ask, caller)
    except OAuthError as refused:
        return _sent(asking.refusal(refused))
    return _sent(asking.address(code=code))


@by_form.post(AUTHORIZE)
@by_form.post(LOGOUT)
async def ask_by_form(request: Request, form: Parameters) -> Response:
    """A client may post what it asks for; it is answered like a link, by which the cookie comes."""
    return go(f"{request.url.path}?{urlencode(form)}")


@router.post(f"{AUTHORIZE}/consent")
async def answer_consent(
    here: Here,
    request: Request,
    asking: Asked,
    decision: Annotated[Literal["allow", "deny"], Form()],
) -> Response:
    request.state.person = caller = await browser.who(here, request)
    if caller is None:
        return go("/sign-in", next=_once_proved(asking))
    if decision == "deny":
        refused = OAuthError("access_denied", "The person does not agree.")
        return _led_on(request, asking.client, asking.refusal(refused))
    try:
        ask = asking.ask
    except OAuthError as refused:
        return _led_on(request, asking.client, asking.refusal(refused))
    await actions.give_consent(here, asking.client, caller.user_id, ask.scopes)
    code = await actions.issue_code(here, asking.client, ask, caller)
    return _led_on(request, asking.client, asking.address(code=code))


@router.get("/oauth/continue")
async def go_on(request: Request, asking: Asked) -> Response:
    """Back to the client's request, for whoever has signed in by a form because of it."""
    return _led_on(request, asking.client, f"{AUTHORIZE}?{urlencode(asking.told)}")


@router.get(LOGOUT)
async def show_log_out(here: Here, request: Request, told: Told) -> Response:
    request.state.person = caller = await browser.who(here, request)
    hint = await _own_hint(here, told)
    if caller and (hint is None or hint.sub != caller.user_id):
        return pages.page(request, "logout.html")
    await actions.log_out(here, caller, hint)
    response = _sent(await _address_after(here, told, hint) or "/sign-in?done=signed-out")
    browser.end(here, response)
    return response


@router.post(f"{LOGOUT}/confirm")
async def log_out(here: Here, request: Request, told: Told) -> Response:
    await actions.log_out(here, await browser.who(here, request), None)
    hint = await _own_hint(here, told)
    address = await _address_after(here, told, hint)
    client = await find_client(here, hint.aud if hint else told.get("client_id", ""))
    response = (
        _led_on(request, client, address)
        if client and address
        else go("/sign-in", done="signed-out")
    )
    browser.end(here, response)
    return response


@api.get("/users/me/consents")
async def list_consents(here: Here, caller: SignedIn, page: PageOf) -> Page[ConsentOut]:
    rows = await queries.select_consents(
        here.db,
        user_id=caller.user_id,
        after=page.after(TextPosition) or "",
        most=page.limit,
    )
    return Page(
        data=[ConsentOut(**row._asdict()) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.client_id),
    )


@api.delete("/users/me/consents/{client_id}", status_code=204)
async def revoke_consent(
    here: Here, caller: InPerson, client_id: Annotated[ClientId, InPath()]
) -> Response:
    await actions.revoke_consent(here, caller.user_id, client_id)
    return Response(status_code=204)


def _once_proved(asking: Asking) -> str:
    return f"/oauth/continue?{urlencode(rules.once_proved(asking.told))}"


def _sent(address: str) -> Response:
    return Response(status_code=303, headers={"Location": address, "Cache-Control": "no-store"})


def _led_on(request: Request, client: Client, address: str) -> Response:
    """A page that goes on by itself, or by its link."""
    return pages.page(request, "go_on.html", client=client, address=address)


async def _own_hint(here: Identity, told: dict[str, str]) -> actions.Hint | None:
    """The hint, unless the request names another client than it was given to."""
    hint = await actions.read_hint(here, told.get("id_token_hint", ""))
    return hint if hint and told.get("client_id", hint.aud) == hint.aud else None


async def _address_after(
    here: Identity, told: dict[str, str], hint: actions.Hint | None
) -> str | None:
    """Where the client wants people after a sign-out, if that is registered."""
    client = await find_client(here, hint.aud if hint else told.get("client_id", ""))
    address = told.get("post_logout_redirect_uri")
    if client is None or address is None or address not in client.logout_uris:
        return None
    return rules.answer_address(address, state=told.get("state"))
