"""Requests of OAuth clients: forms that are answered, refused and authenticated as OAuth says.

A client proves itself by HTTP Basic or in the form, or, where it can keep no secret, names itself.
Whoever fails pays a request of a limit; whoever succeeds does not, so that a warm request of a
client needs neither the database nor Redis.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from holdfast.apps.identity.clients.actions import authenticate
from holdfast.apps.identity.clients.schemas import Client
from holdfast.apps.identity.guard import admit_exactly
from holdfast.apps.identity.oauth import InvalidClientError, OAuthError
from holdfast.apps.identity.resources import Here

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 50
BASIC = re.compile(r"basic ([A-Za-z0-9+/]*={0,2})", re.IGNORECASE)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class OAuthRoute(APIRoute):
    """Answers programs that follow RFC 6749, where other routes answer problem+json."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handle(request)
            except OAuthError as refused:
                told = {"error": refused.error, "error_description": refused.detail}
                response = json_answer(told)
                response.status_code = refused.status
                response.headers.update(refused.headers)
            return response

        return answer


def json_answer(content: Any) -> Response:
    return Response(
        msgspec.json.encode(content),
        media_type="application/json",
        headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
    )


async def _form(request: Request) -> dict[str, str]:
    """The form's fields: each once, and none that is empty; what nobody asked for is ignored."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"Send a form ({FORM}).")
    try:
        body = (await request.body()).decode("ascii")
        pairs = parse_qsl(body, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None
    return single(pairs)


def single(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters by their names; refuses what could be understood in two ways (RFC 6749 3.1)."""
    found = {name: value for name, value in pairs if value}
    if len(found) != len([name for name, value in pairs if value]):
        raise OAuthError("invalid_request", "A parameter is there more than once.")
    if any("\0" in value for value in found.values()):
        raise OAuthError("invalid_request", "A parameter has a NUL character in it.")
    return found


Parameters = Annotated[dict[str, str], Depends(_form)]


async def _client(here: Here, request: Request, form: Parameters) -> Client:
    client_id, secret = _told_by(request, form)
    client = await authenticate(here, client_id, secret) if client_id else None
    if client is None:
        await admit_exactly(here, request.scope, "client_failures")
        raise InvalidClientError
    return client


AnyClient = Annotated[Client, Depends(_client)]


async def _confidential_client(client: AnyClient) -> Client:
    if not client.confidential:
        raise InvalidClientError
    return client


ConfidentialClient = Annotated[Client, Depends(_confidential_client)]


def _told_by(request: Request, form: dict[str, str]) -> tuple[str | None, str | None]:
    """The client's id and secret: from the header or from the form, never from both."""
    header = BASIC.fullmatch(request.headers.get("authorization", ""))
    if header is None:
        return form.get("client_id"), form.get("client_secret")
    if "client_secret" in form:
        raise OAuthError("invalid_request", "Prove who you are in one way, not in two.")
    try:
        client_id, _, secret = b64decode(header[1]).decode().partition(":")
    except ValueError:
        raise InvalidClientError from None
    named = unquote_plus(client_id)
    if form.get("client_id", named) != named:
        raise OAuthError("invalid_request", "The form names another client than the header.")
    return named, unquote_plus(secret)
