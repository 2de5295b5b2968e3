"""Remote keys against a real server that rotates, fails, stalls and lies."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey, RSAKey

from holdfast.core import jwks
from holdfast.core.jwks import KeysAwayError, RemoteKeys, kept_s, read_keys


def public(kid: str) -> dict[str, Any]:
    key = OKPKey.generate_key("Ed25519", {"alg": "Ed25519", "use": "sig", "kid": kid})
    return dict(key.as_dict(private=False))


class Issuer:
    """What its endpoint answers next, and how often it was asked."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.cache_control = "public, max-age=600"
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.publish("one")

    def publish(self, *kids: str) -> None:
        self.body = msgspec.json.encode({"keys": [public(kid) for kid in kids]})

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.open.wait()
        headers = {"Cache-Control": self.cache_control}
        return web.Response(body=self.body, status=self.status, headers=headers)


class Clock:
    """The time of the keys, which stands still until it is told to pass; that of I/O goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        monkeypatch.setattr(jwks, "time", self)

    def monotonic(self) -> float:
        return self.ahead_s


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def keys(issuer: Issuer) -> AsyncIterator[RemoteKeys]:
    app = web.Application()
    app.router.add_get("/jwks", issuer.answer)
    async with TestServer(app) as server:
        yield RemoteKeys(str(server.make_url("/jwks")))


async def test_a_known_key_is_asked_for_once(keys: RemoteKeys, issuer: Issuer) -> None:
    found = await keys.find("one")
    assert found is not None
    assert found.alg == "Ed25519"
    assert await keys.find("one") is found
    assert issuer.asked == 1


async def test_many_who_ask_at_once_are_one_request(keys: RemoteKeys, issuer: Issuer) -> None:
    found = await asyncio.gather(*(keys.find("one") for _ in range(100)))
    assert all(found)
    assert issuer.asked == 1


async def test_unknown_ids_are_looked_for_once_a_second(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.find("one")
    for number in range(50):
        assert await keys.find(f"invented {number}") is None
    assert issuer.asked == 1
    clock.ahead_s = 1.5
    issuer.publish("one", "two")
    assert await keys.find("two")
    assert issuer.asked == 2


async def test_a_caller_who_leaves_does_not_take_the_answer_from_others(
    keys: RemoteKeys, issuer: Issuer
) -> None:
    issuer.open.clear()
    impatient, patient = (asyncio.create_task(keys.find("one")) for _ in range(2))
    while not issuer.asked:
        await asyncio.sleep(0.001)
    impatient.cancel()
    issuer.open.set()
    assert await patient


async def test_a_set_is_fetched_anew_behind_whoever_asks_for_a_known_key(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.find("one")
    clock.ahead_s = 601
    issuer.open.clear()
    issuer.publish("two")
    assert await keys.find("one")  # although the endpoint stalls
    issuer.open.set()
    assert await keys.find("two")
    assert await keys.find("one") is None  # withdrawn
    assert issuer.asked == 2


@pytest.mark.parametrize(
    "away",
    [
        {"status": 503},
        {"status": 302},
        {"body": b"<html>"},
        {"body": b'{"keys": {}}'},
        {"body": b" " * (64 * 1024) + b'{"keys": []}'},
    ],
    ids=["failing", "redirecting", "no JSON", "no set", "too large"],
)
async def test_old_keys_serve_on_for_an_hour_while_the_endpoint_is_away(
    keys: RemoteKeys, issuer: Issuer, clock: Clock, away: dict[str, Any]
) -> None:
    found = await keys.find("one")
    vars(issuer).update(away)
    clock.ahead_s = 600 + 3590
    assert await keys.find("one") is found
    assert await keys.find("two") is None
    clock.ahead_s = 600 + 3610
    with pytest.raises(KeysAwayError):
        await keys.find("one")


async def test_without_any_set_whoever_asks_is_told_so_and_the_endpoint_is_spared(
    keys: RemoteKeys, issuer: Issuer, clock: Clock
) -> None:
    issuer.status = 500
    for _ in range(20):
        with pytest.raises(KeysAwayError):
            await keys.find("one")
    assert issuer.asked == 1
    issuer.status = 200
    clock.ahead_s = 1.5
    assert await keys.find("one")


async def test_an_endpoint_that_stalls_is_given_up(
    keys: RemoteKeys, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "ANSWERS_WITHIN", aiohttp.ClientTimeout(total=0.05))
    issuer.open.clear()
    with pytest.raises(KeysAwayError):
        await keys.find("one")
    issuer.open.set()


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("public, max-age=19800, must-revalidate", 19_800),
        ("MAX-AGE=3600", 3600),
        ("max-age=0", 300),
        ("no-store", 300),
        ("", 300),
        ("max-age=999999999", 86_400),
        ("s-maxage=7200", 300),
        ("max-age=soon", 300),
    ],
)
def test_a_set_is_kept_as_its_server_says_within_bounds(told: str, kept: int) -> None:
    assert kept_s(told) == kept


USELESS: dict[str, dict[str, Any]] = {
    "no id": {"kid": None},
    "an odd id": {"kid": 7},
    "for encryption": {"use": "enc"},
    "no algorithm": {"alg": None},
    "another algorithm": {"alg": "RS256"},
    "a secret": {"kty": "oct", "k": "c2VjcmV0" * 8, "alg": "HS256"},
    "another curve": {"crv": "X25519"},
    "no curve": {"crv": "?"},
    "no point": {"x": "?"},
    "no type": {"kty": None},
    "an odd type": {"kty": [1]},
}


@pytest.mark.parametrize("useless", USELESS)
def test_a_key_that_cannot_verify_is_passed_over(useless: str) -> None:
    keys = [public("odd") | USELESS[useless], public("good")]
    assert read_keys(msgspec.json.encode({"keys": keys})).keys() == {"good"}


def test_a_short_rsa_key_is_passed_over() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        short, long = (
            RSAKey.generate_key(bits, {"alg": "RS256", "use": "sig", "kid": str(bits)})
            for bits in (1024, 2048)
        )
        body = {"keys": [key.as_dict(private=False) for key in (short, long)]}
        assert read_keys(msgspec.json.encode(body)).keys() == {"2048"}
