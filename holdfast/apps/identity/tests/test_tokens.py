"""Access tokens: what attackers try, what is published, and keys that change under load."""

import asyncio
import base64
import hmac
import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey, RSAKey

from holdfast.apps.identity.keys.actions import rotate_keys, withdraw_key
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Account, Api


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def opened(token: str, part: int) -> dict[str, Any]:
    text = token.split(".")[part]
    return dict(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def signed(header: dict[str, Any], claims: dict[str, Any], key: OKPKey) -> str:
    """By hand: no library would write some of these."""
    signing_input = f"{segment(header)}.{segment(claims)}"
    assert isinstance(key.private_key, Ed25519PrivateKey)
    return f"{signing_input}.{segment(key.private_key.sign(signing_input.encode()))}"


def keyed_by_public_key(header: dict[str, Any], claims: dict[str, Any], public: bytes) -> str:
    """The classic confusion of algorithms: everybody's public key used as a secret."""
    signing_input = f"{segment({**header, 'alg': 'HS256'})}.{segment(claims)}"
    return f"{signing_input}.{segment(hmac.digest(public, signing_input.encode(), 'sha256'))}"


async def jwks(api: Api) -> list[dict[str, Any]]:
    answer = await api.call("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    return list(answer.body["keys"])


async def test_show_jwks_publishes_public_keys_only(api: Api) -> None:
    (key,) = await jwks(api)
    assert (key["kty"], key["alg"], key["use"]) == ("OKP", "Ed25519", "sig")
    assert "d" not in key


async def test_show_jwks_verifies_our_tokens_and_they_say_what_rfc_9068_wants(api: Api) -> None:
    account = await api.sign_up()
    header = opened(account.access, 0)
    assert header.keys() == {"alg", "kid", "typ"}
    assert header["typ"] == "at+jwt"
    (key,) = [key for key in await jwks(api) if key["kid"] == header["kid"]]
    token = jws.deserialize_compact(account.access, OKPKey.import_key(key), algorithms=["Ed25519"])
    claims = json.loads(token.payload)
    assert {"iss", "aud", "sub", "exp", "iat", "jti", "sid", "client_id"} <= claims.keys()
    assert claims["sub"] == (await api.me(account)).data["id"]


async def forgeries(api: Api, account: Account) -> dict[str, str]:
    """Every way to write a token that is nearly right."""
    header, claims = opened(account.access, 0), opened(account.access, 1)
    head, body, signature = account.access.split(".")
    (public,) = await jwks(api)
    own = OKPKey.generate_key("Ed25519")
    public_bytes = OKPKey.import_key(public).as_pem(private=False)
    now = int(time.time())

    def ours(header: dict[str, Any], **changed: Any) -> str:
        return signed(header, {**claims, **changed}, own)

    return {
        "alg none": f"{segment({**header, 'alg': 'none'})}.{body}.",
        "alg none, signed": f"{segment({**header, 'alg': 'none'})}.{body}.{signature}",
        "HS256 by the public key": keyed_by_public_key(header, claims, public_bytes),
        "own key, our kid": ours(header),
        "own key in jwk": ours({**header, "jwk": own.as_dict(private=False)}),
        "own key by jku": ours({**header, "jku": "http://127.0.0.1:1/jwks.json"}),
        "unknown crit": ours({**header, "crit": ["exp"], "exp": now + 60}),
        "unknown kid": ours({**header, "kid": "nobody's"}),
        "kid with a path": ours({**header, "kid": "../../etc/passwd\0"}),
        "another type": ours({**header, "typ": "JWT"}),
        "another subject": f"{head}.{segment({**claims, 'sub': str(uuid4())})}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{account.access}.{signature}",
        "padded": account.access + "=",
        "one bit flipped": account.access[:-10] + "AAAAAAAAAA",
        "not base64": "a.b.c",
        "not text": "\udcff",
        "long": "a" * 5000,
    }


async def test_show_me_refuses_every_forged_token(api: Api) -> None:
    account = await api.sign_up()
    for name, token in (await forgeries(api, account)).items():
        if name == "not text":
            continue  # no client can send it
        answer = await api.me(token)
        assert answer.status == 401, name
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await api.me(account)).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"exp": 1},
        {"iat": 9_999_999_999},
        {"exp": None},
        {"sub": "not an id"},
        {"sid": None},
    ],
)
async def test_show_me_refuses_wrong_claims_even_when_we_signed_them(
    api: Api, here: Identity, changed: dict[str, Any]
) -> None:
    account = await api.sign_up()
    claims = {**opened(account.access, 1), **changed}
    claims.pop("jti")
    assert (await api.me(await here.keys.sign(claims))).status == 401


async def test_show_me_refuses_a_megabyte_of_token_before_decoding_it(api: Api) -> None:
    answer = await api.me("a" * 1_000_000)
    assert answer.status in {400, 401, 431}


async def test_show_me_refuses_a_revoked_token_however_it_is_spelled(api: Api) -> None:
    account = await api.sign_up()
    head, body, signature = account.access.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    respelled = [account.access, account.access + "=", account.access + "=="]
    respelled += [f"{head}.{body}.{base64.b64encode(raw).decode()}"]
    respelled += [
        f"{head}=.{body}.{signature}",
        account.access[:-1] + chr(ord(account.access[-1]) + 1),
    ]
    await api.call("POST", "/api/v1/auth/logout", token=account.access)
    for token in respelled:
        assert (await api.me(token)).status == 401


async def rotate(here: Identity, lead_s: float = 0) -> str:
    return await rotate_keys(
        here.lease,
        alg=here.options.token_alg,
        sealing_key=here.sealing_key,
        access_ttl=here.access_ttl,
        lead=timedelta(seconds=lead_s),
    )


async def test_show_jwks_has_a_new_key_before_it_signs(api: Api, here: Identity) -> None:
    before = opened((await api.sign_up()).access, 0)["kid"]
    kid = await rotate(here, lead_s=300)
    assert {key["kid"] for key in await jwks(api)} == {before, kid}
    assert opened((await api.sign_up()).access, 0)["kid"] == before


async def test_rotation_under_load_fails_no_request(api: Api, here: Identity) -> None:
    account = await api.sign_up()
    failures: list[int] = []
    kids: set[str] = set()
    stop = asyncio.Event()

    async def use() -> None:
        latest = account.refresh
        while not stop.is_set():
            refreshed = await api.refresh(latest)
            if refreshed.status != 200:
                failures.append(refreshed.status)
                return
            latest, access = refreshed.data["refresh_token"], refreshed.data["access_token"]
            kids.add(opened(access, 0)["kid"])
            for token in (access, account.access):
                status = (await api.me(token)).status
                if status != 200:
                    failures.append(status)

    user = asyncio.create_task(use())
    for _ in range(5):
        kid = await rotate(here)
        while kid not in kids and not failures:
            await asyncio.sleep(0.01)
    stop.set()
    await user
    assert failures == []


async def test_withdrawn_key_ends_what_it_has_signed(api: Api, here: Identity) -> None:
    account = await api.sign_up()
    assert (await api.me(account)).status == 200
    await rotate(here)
    await withdraw_key(here.lease, opened(account.access, 0)["kid"])
    assert (await api.me(account)).status == 401
    refreshed = await api.refresh(account.refresh)
    assert (await api.me(refreshed.data["access_token"])).status == 200


class TestRs256:
    @pytest.fixture
    def options(self, options: Options) -> Options:
        return options.model_copy(update={"token_alg": "RS256"})

    async def test_rs256_is_selectable_and_as_strict(self, api: Api) -> None:
        account = await api.sign_up()
        assert opened(account.access, 0)["alg"] == "RS256"
        assert (await api.me(account)).status == 200
        (public,) = await jwks(api)
        pem = RSAKey.import_key(public).as_pem(private=False)
        header, claims = opened(account.access, 0), opened(account.access, 1)
        assert (await api.me(keyed_by_public_key(header, claims, pem))).status == 401
