"""Identity, as a service behind it asks: who somebody is, and what they may do at this moment.

Over HTTP where it is reached as everybody reaches it, or over gRPC where a setting says so; either
way a caller cannot tell the difference, and whatever goes wrong is that identity is away.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Protocol
from uuid import UUID

import aiohttp
import msgspec

from holdfast.core.errors import BusyError, UnauthenticatedError
from holdfast.core.jwks import LARGEST_BODY, bounded_body
from holdfast.core.rpc.channel import CallError, Channel, connected
from holdfast.core.settings import Settings

ANSWERS_WITHIN_S = 2.0
VISIBLE = re.compile(rb"[!-~]{1,4096}")  # as long as its contract lets a token be


class Person(msgspec.Struct, frozen=True):
    id: UUID
    permissions: frozenset[str]


class PersonAnswer(msgspec.Struct, frozen=True):
    data: Person


class IdentityAwayError(BusyError):
    sentence = "It cannot be asked at the moment what you may do. Try again shortly."


class Identity(Protocol):
    async def who_is(self, token: bytes) -> Person:
        """The bearer of this token, if it is good at this moment."""


@asynccontextmanager
async def identity_of(settings: Settings, http: aiohttp.ClientSession) -> AsyncIterator[Identity]:
    """As the settings say that it is reached."""
    if settings.identity_grpc is None:
        yield HttpIdentity(settings.identity_url or settings.origin, http)
        return
    async with connected(settings.identity_grpc, largest_answer=LARGEST_BODY) as channel:
        yield GrpcIdentity(channel)


class HttpIdentity:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def who_is(self, token: bytes) -> Person:
        try:
            async with self._http.get(
                f"{self._url}/api/v1/users/me",
                headers={"Authorization": _bearer(token)},
                timeout=aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S),
                allow_redirects=False,
            ) as answer:
                if answer.status == HTTPStatus.UNAUTHORIZED:
                    raise UnauthenticatedError
                if answer.status != HTTPStatus.OK:
                    raise IdentityAwayError
                body = await bounded_body(answer)
                return msgspec.json.decode(body, type=PersonAnswer).data
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            raise IdentityAwayError from error


class GrpcIdentity:
    def __init__(self, channel: Channel) -> None:
        from holdfast.stubs.identity.v1 import access_pb2  # noqa: PLC0415 - see `rpc.channel`

        self._asked = access_pb2.WhoAmIRequest()
        self._who_am_i = channel.method(
            "holdfast.identity.v1.Access/WhoAmI", access_pb2.WhoAmIResponse
        )

    async def who_is(self, token: bytes) -> Person:
        metadata = (("authorization", _bearer(token)),)
        try:
            told = await self._who_am_i(self._asked, within_s=ANSWERS_WITHIN_S, metadata=metadata)
            return Person(UUID(told.id), frozenset(told.permissions))
        except CallError as error:
            if error.status == "UNAUTHENTICATED":
                raise UnauthenticatedError from error
            raise IdentityAwayError from error
        except ValueError as error:
            raise IdentityAwayError from error


def _bearer(token: bytes) -> str:
    if not VISIBLE.fullmatch(token):  # identity never made it, and not every wire can carry it
        raise UnauthenticatedError
    return f"Bearer {token.decode()}"
