"""Passkeys: added, used, refused and removed. Browsers are a software authenticator here."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.passkeys.rules import (
    Site,
    creation_options,
    read_assertion,
    read_registration,
    request_options,
    site_of,
)
from holdfast.apps.identity.tests.api import Account, Answer, Api, served
from holdfast.apps.identity.tests.authenticator import (
    COPIED,
    COPYABLE,
    PRESENT,
    USUAL,
    Authenticator,
    decoded,
    encoded,
)
from holdfast.core.settings import Settings
from holdfast.core.web import build

MINE = "/api/v1/users/me/passkeys"
OPTIONS = "/api/v1/users/me/passkey-options"
LOGIN = "/api/v1/auth/passkeys"
STEP_UP = "/api/v1/auth/step-up/passkey"


@pytest.fixture
async def owner(api: Api, db: asyncpg.Connection) -> Account:
    return await make_owner(api, db)


async def make_owner(api: Api, db: asyncpg.Connection) -> Account:
    """Somebody whose address is verified."""
    account = await api.sign_up()
    await db.execute("UPDATE users SET email_verified_at = now() WHERE email = $1", account.email)
    return await api.sign_in(account.email)


async def add(
    api: Api, account: Account, device: Authenticator | None = None, name: str = "Phone"
) -> Authenticator:
    device = device or Authenticator()
    begun = await begin(api, account)
    answer = await api.call(
        "POST",
        MINE,
        {"ticket": begun["ticket"], "name": name, "credential": device.create(begun["options"])},
        token=account.access,
    )
    assert answer.status == 201, answer.body
    return device


async def begin(api: Api, account: Account) -> Any:
    answer = await api.call("POST", OPTIONS, token=account.access)
    assert answer.status == 200, answer.body
    return answer.data


async def login(api: Api, device: Authenticator, **client_data: Any) -> Answer:
    begun = (await api.call("POST", f"{LOGIN}/options")).data
    credential = device.get(begun["options"], **client_data)
    body = {"ticket": begun["ticket"], "credential": credential}
    return await api.call("POST", LOGIN, body)


async def ids(api: Api, account: Account) -> list[str]:
    answer = await api.call("GET", MINE, token=account.access)
    return [passkey["id"] for passkey in answer.data]


def claims(tokens: Any) -> Any:
    return json.loads(decoded(tokens["access_token"].split(".")[1]))


async def test_begin_passkey_asks_for_a_key_on_the_device_and_a_verified_owner(
    api: Api, owner: Account
) -> None:
    me = (await api.me(owner)).data
    options = (await begin(api, owner))["options"]
    assert options["rp"] == {"id": "localhost", "name": "Holdfast"}
    assert decoded(options["user"]["id"]) == UUID(me["id"]).bytes
    assert options["user"]["name"] == owner.email
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert options["attestation"] == "none"
    assert len(decoded(options["challenge"])) == 32
    device = await add(api, owner)
    (excluded,) = (await begin(api, owner))["options"]["excludeCredentials"]
    assert (decoded(excluded["id"]), excluded["transports"]) == (device.id, ["internal", "hybrid"])


async def test_begin_passkey_needs_a_verified_address(api: Api) -> None:
    stranger = await api.sign_up()
    assert (await api.call("POST", OPTIONS, token=stranger.access)).status == 403


async def test_begin_passkey_needs_a_fresh_proof(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    answer = await api.call("POST", OPTIONS, token=owner.access)
    assert answer.status == 401
    assert "insufficient_user_authentication" in answer.headers["WWW-Authenticate"]


async def test_begin_passkey_login_of_a_service_at_an_address_is_told_why_not(
    settings: Settings,
) -> None:
    for origin in ("http://127.0.0.1:8000", "https://[::1]"):
        there = settings.model_copy(update={"origin": origin})
        async with served(build(there, service(there, Options()))) as url, Api.at(url) as api:
            answer = await api.call("POST", f"{LOGIN}/options")
        assert (answer.status, answer.body["type"]) == (409, "/problems/no-name")
        assert "HOLDFAST_ORIGIN" in answer.body["detail"]


async def test_add_passkey_then_sign_in_with_either_of_two(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    phone = await add(api, owner, name="Phone")
    laptop = await add(api, owner, Authenticator(flags=USUAL | COPYABLE | COPIED), name="Laptop")
    for device, amr in ((phone, ["hwk", "user", "mfa"]), (laptop, ["swk", "user", "mfa"])):
        answer = await login(api, device)
        assert answer.status == 200, answer.body
        assert (await api.me(answer.data["access_token"])).data["email"] == owner.email
        assert sorted(claims(answer.data)["amr"]) == sorted(amr)
        assert answer.headers["Set-Cookie"].startswith("holdfast_device=")
    told = await db.fetch("SELECT action, user_id, actor_id FROM audit_log ORDER BY id")
    assert [row["action"] for row in told] == ["passkey.added", "passkey.added"]
    assert all(row["user_id"] == row["actor_id"] for row in told)
    mails = await db.fetch("SELECT recipient, facts FROM mails WHERE template = 'passkey_added'")
    assert [mail["recipient"] for mail in mails] == [owner.email] * 2
    assert {json.loads(mail["facts"])["name"] for mail in mails} == {"Phone", "Laptop"}


async def test_list_passkeys_shows_their_owner_all_and_others_none(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    phone = await add(api, owner, Authenticator(flags=USUAL | COPYABLE | COPIED))
    await add(api, owner, name="Key")
    await login(api, phone)
    first, second = (await api.call("GET", MINE, token=owner.access)).data
    assert (first["name"], first["backed_up"]) == ("Phone", True)
    assert (second["name"], second["backed_up"]) == ("Key", False)
    assert first["last_used_at"] is not None
    assert second["last_used_at"] is None
    assert await ids(api, await make_owner(api, db)) == []


def changed(device: Authenticator, **fields: Any) -> Authenticator:
    return replace(device, **fields)


# What is wrong with an answer: the device that gives it, and what its browser says instead.
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another site's": ({"origin": "https://evil.example"}, {}),
    "another port's": ({"origin": "http://localhost:9000"}, {}),
    "without a look at its user": ({"flags": PRESENT}, {}),
    "without its user": ({"flags": USUAL & ~PRESENT}, {}),
    "copied, though it cannot be": ({"flags": USUAL | COPIED}, {}),
    "to another challenge": ({}, {"challenge": encoded(b"x" * 32)}),
    "to a challenge of another type": ({}, {"challenge": 7}),
    "of another kind": ({}, {"type": "payment.get"}),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_add_passkey_refuses_an_answer_that_is(
    api: Api, owner: Account, db: asyncpg.Connection, wrong: str
) -> None:
    device, client_data = WRONG[wrong]
    begun = await begin(api, owner)
    credential = changed(Authenticator(), **device).create(begun["options"], **client_data)
    body = {"ticket": begun["ticket"], "name": "Phone", "credential": credential}
    answer = await api.call("POST", MINE, body, token=owner.access)
    assert answer.status == 422
    assert [error["field"] for error in answer.body["errors"]] == ["credential"]
    assert await db.fetchval("SELECT count(*) FROM passkeys") == 0
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 0
    body["credential"] = Authenticator().create(begun["options"])
    assert (await api.call("POST", MINE, body, token=owner.access)).status == 401  # used up


@pytest.mark.parametrize("wrong", [*WRONG, "signed by another key", "for another user"])
async def test_login_with_passkey_refuses_an_answer_that_is(
    api: Api, owner: Account, db: asyncpg.Connection, wrong: str
) -> None:
    phone = await add(api, owner)
    others: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "signed by another key": ({"key": Authenticator().key}, {}),
        "for another user": ({"handle": b"somebody else"}, {}),
    }
    device, client_data = (WRONG | others)[wrong]
    sessions = await db.fetchval("SELECT count(*) FROM sessions")
    answer = await login(api, changed(phone, **device), **client_data)
    assert (answer.status, answer.body["type"]) == (401, "/problems/passkey-refused")
    assert await db.fetchval("SELECT count(*) FROM sessions") == sessions
    assert await db.fetchval("SELECT last_used_at FROM passkeys") is None


async def test_login_with_passkey_for_another_host_is_refused(api: Api, owner: Account) -> None:
    phone = await add(api, owner)
    begun = (await api.call("POST", f"{LOGIN}/options")).data
    credential = phone.get({**begun["options"], "rpId": "evil.example"})
    body = {"ticket": begun["ticket"], "credential": credential}
    assert (await api.call("POST", LOGIN, body)).status == 401


async def test_login_with_passkey_that_nobody_has_is_refused(api: Api, owner: Account) -> None:
    await add(api, owner)
    assert (await login(api, Authenticator(handle=b"nobody"))).status == 401


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("rawId", "not base64!"),
        ("rawId", "A" * 1365),
        ("id", 7),
        ("type", "password"),
        ("response", None),
        ("response", {"clientDataJSON": "e30"}),
        ("response", {"clientDataJSON": "A" * 40_000, "authenticatorData": "A", "signature": "A"}),
    ],
)
async def test_login_with_passkey_refuses_what_is_no_credential(
    api: Api, owner: Account, member: str, value: object
) -> None:
    phone = await add(api, owner)
    begun = (await api.call("POST", f"{LOGIN}/options")).data
    credential = {**phone.get(begun["options"]), member: value}
    answer = await api.call("POST", LOGIN, {"ticket": begun["ticket"], "credential": credential})
    assert answer.status == 422


async def test_login_with_passkey_takes_each_answer_once(api: Api, owner: Account) -> None:
    """Also from many at the same moment, and also with a ticket that is new."""
    phone = await add(api, owner)
    begun = (await api.call("POST", f"{LOGIN}/options")).data
    body = {"ticket": begun["ticket"], "credential": phone.get(begun["options"])}
    answers = await asyncio.gather(*(api.call("POST", LOGIN, body) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 9
    again = (await api.call("POST", f"{LOGIN}/options")).data["ticket"]
    assert (await api.call("POST", LOGIN, {**body, "ticket": again})).status == 401


async def test_login_with_passkey_whose_counter_went_back_is_refused_and_written_down(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    key = await add(api, owner)
    copy = replace(key)
    assert (await login(api, key)).status == 200
    for sign_count in (copy.sign_count, -1):  # as often as the genuine one, and never
        copy.sign_count = sign_count
        assert (await login(api, copy)).status == 401
    told = await db.fetch("SELECT actor_id, facts FROM audit_log WHERE action LIKE '%went_back'")
    assert [row["actor_id"] for row in told] == [None, None]
    assert [json.loads(row["facts"])["sign_count"] for row in told] == [2, 0]
    assert (await login(api, key)).status == 200


async def test_login_with_passkey_counts_once_for_two_answers_with_one_count(
    api: Api, owner: Account
) -> None:
    key = await add(api, owner)
    answers = await asyncio.gather(*(login(api, replace(key)) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 4


async def test_login_with_passkey_that_never_counts_is_let_in(api: Api, owner: Account) -> None:
    phone = await add(api, owner, Authenticator(counts=False))
    for _ in range(2):
        assert (await login(api, phone)).status == 200


async def test_login_with_passkey_of_a_banned_user_is_refused(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    phone = await add(api, owner)
    await db.execute("UPDATE users SET banned_at = now(), ban_reason = 'spam'")
    before = await db.fetchval("SELECT count(*) FROM sessions")
    answer = await login(api, phone)
    assert answer.status == 403
    assert "spam" in answer.body["detail"]
    assert await db.fetchval("SELECT count(*) FROM sessions") == before


async def test_login_with_passkey_is_both_factors(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    phone = await add(api, owner)
    await db.execute(
        "INSERT INTO totp_secrets (user_id, sealed, confirmed_at) SELECT id, '', now() FROM users"
    )
    assert (await api.login(owner.email)).status == 401
    assert (await login(api, phone)).status == 200


async def test_login_with_passkey_is_limited_and_so_are_its_challenges(settings: Settings) -> None:
    strict = settings.model_copy(update={"limits": "on"})
    async with served(build(strict, service(strict, Options()))) as url, Api.at(url) as api:
        asked = [await api.call("POST", f"{LOGIN}/options") for _ in range(90)]
        body = {
            "ticket": asked[0].data["ticket"],
            "credential": Authenticator(handle=b"nobody").get(asked[0].data["options"]),
        }
        tried = [await api.call("POST", LOGIN, body) for _ in range(20)]
    assert {answer.status for answer in asked} == {200, 429}
    assert {answer.status for answer in tried} == {401, 429}


async def test_add_passkey_takes_a_ticket_of_its_own_user_only(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    other = await make_owner(api, db)
    begun = await begin(api, owner)
    credential = Authenticator().create(begun["options"])
    body = {"ticket": begun["ticket"], "name": "Mine", "credential": credential}
    assert (await api.call("POST", MINE, body, token=other.access)).status == 401
    assert await db.fetchval("SELECT count(*) FROM passkeys") == 0


async def test_add_passkey_takes_no_ticket_of_another_step(api: Api, owner: Account) -> None:
    begun = (await api.call("POST", f"{LOGIN}/options")).data
    options = (await begin(api, owner))["options"] | {"challenge": begun["options"]["challenge"]}
    credential = Authenticator().create(options)
    body = {"ticket": begun["ticket"], "name": "Mine", "credential": credential}
    assert (await api.call("POST", MINE, body, token=owner.access)).status == 401


async def test_add_passkey_that_is_somebodys_already_is_refused(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    phone = await add(api, owner)
    other = await make_owner(api, db)
    begun = await begin(api, other)
    body = {"ticket": begun["ticket"], "name": "X", "credential": phone.create(begun["options"])}
    assert (await api.call("POST", MINE, body, token=other.access)).status == 409
    assert await ids(api, other) == []


async def test_add_passkey_stops_at_twenty_also_at_once(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    begun = [await begin(api, owner) for _ in range(4)]
    await db.execute(
        "INSERT INTO passkeys"
        " (credential_id, user_id, name, public_key, sign_count, transports, backed_up)"
        " SELECT uuid_send(uuidv7()), id, 'Old', '', 0, '{}', false FROM users,"
        " generate_series(1, 18)"
    )
    bodies = [
        {
            "ticket": each["ticket"],
            "name": "New",
            "credential": Authenticator().create(each["options"]),
        }
        for each in begun
    ]
    answers = await asyncio.gather(
        *(api.call("POST", MINE, body, token=owner.access) for body in bodies)
    )
    assert sorted(answer.status for answer in answers) == [201, 201, 409, 409]
    assert len(await ids(api, owner)) == 20
    assert (await api.call("POST", OPTIONS, token=owner.access)).status == 409


async def test_rename_passkey_is_its_owners_alone(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    await add(api, owner)
    (mine,) = await ids(api, owner)
    answer = await api.call("PATCH", f"{MINE}/{mine}", {"name": "Old"}, token=owner.access)
    assert (answer.status, answer.data["name"]) == (200, "Old")
    other = await make_owner(api, db)
    stolen = await api.call("PATCH", f"{MINE}/{mine}", {"name": "Mine"}, token=other.access)
    assert stolen.status == 404
    assert await db.fetchval("SELECT name FROM passkeys") == "Old"


async def test_remove_passkey_ends_its_use_and_is_told(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    phone = await add(api, owner)
    (mine,) = await ids(api, owner)
    other = await make_owner(api, db)
    assert (await api.call("DELETE", f"{MINE}/{mine}", token=other.access)).status == 404
    assert (await api.call("DELETE", f"{MINE}/{mine}", token=owner.access)).status == 204
    assert (await api.call("DELETE", f"{MINE}/{mine}", token=owner.access)).status == 404
    assert (await login(api, phone)).status == 401
    told = await db.fetch("SELECT action FROM audit_log ORDER BY id")
    assert [row["action"] for row in told] == ["passkey.added", "passkey.removed"]
    mails = await db.fetch("SELECT facts FROM mails WHERE template = 'passkey_removed'")
    assert [json.loads(mail["facts"]) for mail in mails] == [{"name": "Phone"}]


async def test_remove_passkey_leaves_the_last_way_in_also_at_once(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    for _ in range(3):
        await add(api, owner)
    await db.execute("DELETE FROM credentials")
    answers = await asyncio.gather(
        *(
            api.call("DELETE", f"{MINE}/{each}", token=owner.access)
            for each in await ids(api, owner)
        )
    )
    assert sorted(answer.status for answer in answers) == [204, 204, 409]
    (last,) = await ids(api, owner)
    refused = await api.call("DELETE", f"{MINE}/{last}", token=owner.access)
    assert (refused.status, refused.body["type"]) == (409, "/problems/last-way-in")
    await db.execute(
        "INSERT INTO oauth_accounts (provider, provider_id, user_id) SELECT 'x', '1', id FROM users"
    )
    assert (await api.call("DELETE", f"{MINE}/{last}", token=owner.access)).status == 204


async def test_remove_passkey_needs_a_fresh_proof(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    await add(api, owner)
    (mine,) = await ids(api, owner)
    stale = await api.sign_in(owner.email)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    assert (await api.call("DELETE", f"{MINE}/{mine}", token=stale.access)).status == 401


async def test_step_up_with_passkey_makes_the_session_fresh(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    phone = await add(api, owner)
    stale = await api.sign_in(owner.email)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    assert (await api.call("POST", OPTIONS, token=stale.access)).status == 401
    begun = await api.call("POST", f"{STEP_UP}/options", token=stale.access)
    assert [decoded(each["id"]) for each in begun.data["options"]["allowCredentials"]] == [phone.id]
    body = {"ticket": begun.data["ticket"], "credential": phone.get(begun.data["options"])}
    renewed = await api.call("POST", STEP_UP, body, token=stale.access)
    assert renewed.status == 200, renewed.body
    assert {"hwk", "pwd"} <= set(claims(renewed.data)["amr"])
    assert (await api.call("POST", OPTIONS, token=stale.access)).status == 200
    assert (await api.call("POST", STEP_UP, body, token=stale.access)).status == 401


async def test_step_up_with_passkey_of_somebody_else_is_refused(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    await add(api, owner)
    other = await make_owner(api, db)
    theirs = await add(api, other)
    begun = (await api.call("POST", f"{STEP_UP}/options", token=owner.access)).data
    body = {"ticket": begun["ticket"], "credential": theirs.get(begun["options"])}
    assert (await api.call("POST", STEP_UP, body, token=owner.access)).status == 401
    mine = (await api.call("POST", f"{STEP_UP}/options", token=other.access)).data
    body = {"ticket": mine["ticket"], "credential": theirs.get(mine["options"])}
    assert (await api.call("POST", STEP_UP, body, token=owner.access)).status == 401


async def test_begin_passkey_step_up_without_a_passkey_is_not_found(
    api: Api, owner: Account
) -> None:
    assert (await api.call("POST", f"{STEP_UP}/options", token=owner.access)).status == 404


SITE = Site("localhost", "http://localhost:8000")
CHALLENGE, USER = b"c" * 32, b"u" * 16
BITS = st.integers(0, 10**6)


def flipped(text: str, bit: int) -> str:
    raw = bytearray(decoded(text))
    bit %= 8 * len(raw)
    raw[bit // 8] ^= 1 << bit % 8
    return encoded(bytes(raw))


@given(member=st.sampled_from(["clientDataJSON", "authenticatorData", "signature"]), bit=BITS)
def test_an_answer_with_one_bit_changed_is_refused(member: str, bit: int) -> None:
    device = Authenticator()
    new = device.create(creation_options(SITE, CHALLENGE, USER, "ada@example.com", []))
    registered = read_registration(new, CHALLENGE, SITE)
    assert registered
    said = device.get(request_options(SITE, CHALLENGE))
    assert read_assertion(said, CHALLENGE, SITE, registered.public_key, USER)
    said["response"][member] = flipped(said["response"][member], bit)
    assert read_assertion(said, CHALLENGE, SITE, registered.public_key, USER) is None


@given(member=st.sampled_from(["clientDataJSON", "attestationObject"]), bit=BITS)
def test_a_new_passkey_with_one_bit_changed_is_never_a_fault_of_ours(member: str, bit: int) -> None:
    new = Authenticator().create(creation_options(SITE, CHALLENGE, USER, "ada@example.com", []))
    asked = client_data(new)
    new["response"][member] = flipped(new["response"][member], bit)
    if read_registration(new, CHALLENGE, SITE):  # nothing is signed here but what is looked at
        assert client_data(new) == asked


def client_data(new: Any) -> list[Any]:
    told = msgspec.json.decode(decoded(new["response"]["clientDataJSON"]))
    return [told["type"], decoded(told["challenge"]), told["origin"]]


KEYS = st.recursive(
    st.none() | st.integers() | st.binary() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers(-4, 4), inner),
    max_leaves=8,
)


@given(key=KEYS | st.fixed_dictionaries({1: st.integers(0, 8), 3: st.sampled_from([-7, -8, -257])}))
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    device = Authenticator()
    new = device.create(creation_options(SITE, CHALLENGE, USER, "ada@example.com", []))
    attestation = cbor2.loads(decoded(new["response"]["attestationObject"]))
    head = attestation["authData"][: 37 + 16 + 2 + len(device.id)]
    attestation["authData"] = head + cbor2.dumps(key)
    new["response"]["attestationObject"] = encoded(cbor2.dumps(attestation))
    assert read_registration(new, CHALLENGE, SITE) is None


def test_a_site_has_a_name() -> None:
    assert site_of("https://id.example.com:8443") == (
        "id.example.com",
        "https://id.example.com:8443",
    )
    assert site_of("http://192.0.2.7") is None
    assert site_of("http://[2001:db8::1]:8000") is None
