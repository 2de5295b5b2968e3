"""The verifier alone; what attackers try over HTTP is tested where tokens are issued."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import Key, OKPKey, RSAKey

from holdfast.core.errors import UnauthenticatedError
from holdfast.core.tokens import LEEWAY_S, LONGEST, TokenVerifier, VerificationKey

ED25519 = OKPKey.generate_key("Ed25519")
RSA = RSAKey.generate_key(2048)
ALGORITHMS: dict[str, Key] = {"Ed25519": ED25519, "RS256": RSA}


class Keys:
    """What `find_key` asks; a look-up can be held, as a slow database would."""

    def __init__(self) -> None:
        self.known = {alg: VerificationKey(alg, key) for alg, key in ALGORITHMS.items()}
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def find(self, kid: str) -> VerificationKey | None:
        self.asked += 1
        found = self.known.get(kid)
        await self.open.wait()
        return found


def verifier(keys: Keys, *, size: int = 100) -> TokenVerifier:
    return TokenVerifier(issuer="us", audience="ours", find_key=keys.find, size=size)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    ids = {name: str(uuid4()) for name in ("sub", "sid", "jti")}
    always = {"iss": "us", "aud": "ours", "client_id": "web", "auth_time": now}
    return {**always, **ids, "iat": now, "exp": now + 60, **changed}


def token(alg: str = "Ed25519", header: dict[str, Any] | None = None, **changed: Any) -> bytes:
    protected = {"alg": alg, "kid": alg, "typ": "at+jwt", **(header or {})}
    registry = jws.JWSRegistry(algorithms=["Ed25519", "RS256"])
    registry.strict_check_header = False
    payload = msgspec.json.encode(claims(**changed))
    return jws.serialize_compact(protected, payload, ALGORITHMS[alg], registry=registry).encode()


async def refused(verifier: TokenVerifier, token: bytes) -> bool:
    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(token)
    return caught.value.detail == UnauthenticatedError.sentence


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_token_is_verified_once_and_then_remembered(alg: str) -> None:
    keys = Keys()
    verify = verifier(keys)
    sub = uuid4()
    good = token(alg, sub=str(sub))
    assert verify.remembered(good) is None
    first = await verify.verify(good)
    assert first.sub == sub
    assert verify.remembered(good) is first
    assert await verify.verify(good) is first
    assert keys.asked == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "them"},
        {"aud": "theirs"},
        {"aud": ["ours", "theirs"]},
        {"exp": 1},
        {"exp": "tomorrow"},
        {"exp": None},
        {"sub": "me"},
        {"iat": 2**40, "exp": 2**40 + 900},
    ],
    ids=str,
)
async def test_claims_that_are_not_quite_ours_are_refused(changed: dict[str, Any]) -> None:
    assert await refused(verifier(Keys()), token(**changed))


async def test_a_clock_that_is_a_little_ahead_is_forgiven() -> None:
    await verifier(Keys()).verify(token(iat=int(time.time()) + LEEWAY_S - 2))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "AT+JWT"},
        {"kid": "nobody's"},
        {"kid": "RS256"},
        {"jku": "https://elsewhere.example"},
        {"b64": True},
    ],
    ids=str,
)
async def test_headers_that_are_not_exactly_ours_are_refused(header: dict[str, Any]) -> None:
    assert await refused(verifier(Keys()), token(header=header))


async def test_a_key_is_good_for_its_own_algorithm_only() -> None:
    keys = Keys()
    keys.known["Ed25519"] = VerificationKey("RS256", RSA)
    assert await refused(verifier(keys), token("Ed25519"))


async def test_a_long_token_is_refused_without_looking_for_its_key() -> None:
    keys = Keys()
    assert await refused(verifier(keys), token(client_id="x" * LONGEST))
    assert keys.asked == 0


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_refused(garbage: bytes) -> None:
    assert asyncio.run(refused(verifier(Keys()), garbage))


GOOD = token(exp=int(time.time()) + 86_400)  # of now, and used when all other tests may be done


@given(
    st.integers(0, len(GOOD) - 1),
    st.sampled_from(b"ABYZabyz0189-_=.+/ \n\0\xff"),
    st.sampled_from(
        [lambda i, c: GOOD[:i] + c + GOOD[i + 1 :], lambda i, c: GOOD[:i] + c + GOOD[i:]]
    ),
)
def test_a_token_with_one_byte_changed_or_added_never_says_anything_else(
    place: int, byte: int, edit: Callable[[int, bytes], bytes]
) -> None:
    async def verify() -> None:
        known = await verifier(Keys()).verify(GOOD)
        with suppress(UnauthenticatedError):
            assert await verifier(Keys()).verify(edit(place, bytes([byte]))) == known

    asyncio.run(verify())


async def test_a_token_is_not_remembered_beyond_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    verify = verifier(Keys())
    ends = int(time.time()) + 60
    short = token(exp=ends)
    monkeypatch.setattr(time, "time", lambda: ends - 0.01)
    await verify.verify(short)
    assert verify.remembered(short)
    monkeypatch.setattr(time, "time", lambda: float(ends))
    assert verify.remembered(short) is None
    assert await refused(verify, short)


async def test_no_more_tokens_are_remembered_than_there_is_room_for() -> None:
    verify = verifier(Keys(), size=2)
    tokens = [token() for _ in range(3)]
    for one in tokens:
        await verify.verify(one)
    assert [verify.remembered(one) is not None for one in tokens] == [False, True, True]


async def test_a_withdrawn_key_makes_its_tokens_unknown() -> None:
    keys = Keys()
    verify = verifier(keys)
    good = token()
    await verify.verify(good)
    del keys.known["Ed25519"]
    verify.forget()
    assert verify.remembered(good) is None
    assert await refused(verify, good)


async def test_a_key_that_is_withdrawn_while_it_is_looked_up_is_not_used() -> None:
    keys = Keys()
    verify = verifier(keys)
    good = token()
    keys.open.clear()
    verifying = asyncio.create_task(verify.verify(good))
    await asyncio.sleep(0)
    assert keys.asked == 1
    del keys.known["Ed25519"]
    verify.forget()
    keys.open.set()
    with pytest.raises(UnauthenticatedError):
        await verifying
    assert verify.remembered(good) is None


async def test_a_failed_look_up_is_not_a_refusal() -> None:
    async def away(_kid: str) -> VerificationKey | None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await TokenVerifier(issuer="us", audience="ours", find_key=away).verify(token())
