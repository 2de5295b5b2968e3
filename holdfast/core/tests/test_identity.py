"""Identity is asked over gRPC; over HTTP too, where `identity/tests/test_access_grpc.py` asks a real one."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest
from starlette.types import Scope

from holdfast.core import identity
from holdfast.core.errors import BusyError, ForbiddenError, UnauthenticatedError
from holdfast.core.identity import Identity, IdentityAwayError, Person, identity_of
from holdfast.core.rpc import channel
from holdfast.core.settings import Settings
from holdfast.core.tests.house import House
from holdfast.stubs.identity.v1.access_pb2 import WhoAmIResponse


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    async with house.open():
        yield house


@pytest.fixture
async def asked(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Identity]:
    for module, patience in ((identity, "ANSWERS_WITHIN_S"), (channel, "CONNECT_WITHIN_S")):
        monkeypatch.setattr(module, patience, 30)  # a slow machine is not what is asked about
    settings = Settings.load(
        {
            "DATABASE_URL": "postgresql://127.0.0.1/none",
            "REDIS_URL": "redis://127.0.0.1/0",
            "HOLDFAST_SECRET": "only to be there, for nothing is signed",
            "HOLDFAST_IDENTITY_GRPC": house.url,
        }
    )
    async with aiohttp.ClientSession() as http, identity_of(settings, http) as opened:
        yield opened


async def test_whatever_is_no_answer_means_that_identity_is_away(
    house: House, asked: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, told = uuid4(), WhoAmIResponse()

    async def answer(scope: Scope) -> WhoAmIResponse:
        return told

    house.answer = answer
    for lie in ("", "you", f"{person}x", "x" * 100_000):
        told.id = lie
        with pytest.raises(IdentityAwayError):
            await asked.who_is(b"token")
    told = WhoAmIResponse(id=str(person), permissions=["a", "b"])
    assert await asked.who_is(b"token") == Person(person, frozenset("ab"))

    async def hang(scope: Scope) -> WhoAmIResponse:
        await asyncio.sleep(60)
        raise AssertionError

    house.answer = hang
    monkeypatch.setattr(identity, "ANSWERS_WITHIN_S", 0.05)
    with pytest.raises(IdentityAwayError):
        await asked.who_is(b"token")


@pytest.mark.parametrize(
    ("raised", "heard"),
    [
        (UnauthenticatedError(), UnauthenticatedError),
        (ForbiddenError(), IdentityAwayError),
        (BusyError(), IdentityAwayError),
        (RuntimeError(), IdentityAwayError),
    ],
    ids=repr,
)
async def test_only_a_token_that_is_not_good_is_the_callers_fault(
    house: House, asked: Identity, raised: Exception, heard: type[Exception]
) -> None:
    async def answer(scope: Scope) -> WhoAmIResponse:
        raise raised

    house.answer = answer
    with pytest.raises(heard):
        await asked.who_is(b"token")
