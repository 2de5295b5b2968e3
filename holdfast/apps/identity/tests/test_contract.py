"""Identity keeps its contract: each operation, asked rightly and wrongly, by an admin and by nobody.

The requests are made by schemathesis from the OpenAPI file alone and sent to a worker process. The
examples that the file shows are real here: there is an Ada with that password, who is the admin,
a role `editor`, a session to end.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import requests
import schemathesis
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import BaseSchema, Case, Response
from schemathesis.core.result import Ok

from holdfast.apps.identity.access.rules import BROWSER, write_carried
from holdfast.apps.identity.authorization.schemas import CODE, Code
from holdfast.apps.identity.clients.rules import hash_secret
from holdfast.apps.identity.mail.rules import CONFIRM, RESET, VERIFY
from holdfast.apps.identity.mail.schemas import Arrived
from holdfast.apps.identity.second_factor import rules
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.tests.api import worker
from holdfast.apps.identity.tests.authenticator import Authenticator
from holdfast.apps.identity.tests.authenticator_app import App
from holdfast.apps.identity.tests.conftest import PATIENCE_S, SECRET
from holdfast.apps.identity.tests.relying_party import BACK, VERIFIER, basic, challenge_of
from holdfast.apps.identity.tickets.actions import issue
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate

FILE = find("identity").contract


def contract(*, invent_tokens: bool) -> BaseSchema:
    schema = schemathesis.openapi.from_path(FILE)
    schema.config.generation.max_examples = 15
    schema.config.generation.deterministic = True
    schema.config.generation.with_security_parameters = invent_tokens
    schema.config.checks.positive_data_acceptance.expected_statuses += ["400", "422"]  # see `ask`
    return schema


CONTRACT = contract(invent_tokens=False)
GUARDED = contract(invent_tokens=True).exclude(
    lambda ctx: ctx.operation.definition.raw.get("security") == []
)
OPERATIONS = {
    found.ok().definition.raw["operationId"]: found.ok()
    for found in CONTRACT.get_all_operations()
    if isinstance(found, Ok)
}

# What may be wrong with data that fits its schema: it names what is not there, or has too many bytes.
BEYOND_SCHEMA = {
    "code",
    "cursor",
    "permissions",
    "password",
    "current_password",
    "new_password",
    "scopes",
    "redirect_uris",
    "logout_uris",
    "service_account",
}

ADA_ID = "0199a8f1-02d7-7e10-8b35-c4d2a9e6f001"
SESSION_ID = "0199a8f2-5b1e-7c3d-9a44-1f0e8b7d6c52"
GRACE_ID = "0199a8f1-4a66-7d02-9c1b-8e35f0b27a11"
TOKEN_ID = "0199a8f3-7c20-7a15-b0de-62c1f4a98d07"
ADA = {"email": "ada@example.com", "password": "correct horse battery"}
HASH = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(ADA["password"])
SHOP_SECRET = "hfc_" + "s" * 43
SHOP_HASH = hash_secret("shop", SHOP_SECRET, Secrets(SECRET)).hex()
PASSKEY_ID = "0199a8f3-11c4-7f62-8d10-6a7b8c9d0e11"
PHONE = Authenticator(handle=UUID(ADA_ID).bytes, counts=False)
MAKE_EXAMPLES = f"""
    INSERT INTO users (id, email, email_verified_at)
    VALUES ('{ADA_ID}', 'ada@example.com', now()) ON CONFLICT DO NOTHING;
    INSERT INTO credentials VALUES ('{ADA_ID}', '{HASH}')
    ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash;
    INSERT INTO user_roles VALUES ('{ADA_ID}', 'admin') ON CONFLICT DO NOTHING;
    INSERT INTO permissions VALUES ('posts:write', '') ON CONFLICT DO NOTHING;
    INSERT INTO role_permissions VALUES ('admin', 'posts:write') ON CONFLICT DO NOTHING;
    INSERT INTO roles VALUES ('editor', '') ON CONFLICT DO NOTHING;
    DELETE FROM sessions WHERE id = '{SESSION_ID}';
    INSERT INTO sessions (id, expires_at, user_id, ip, device)
    VALUES ('{SESSION_ID}', now() + interval '1 day', '{ADA_ID}', '::1', '');
    INSERT INTO users (id, email) VALUES ('{GRACE_ID}', 'grace@example.com') ON CONFLICT DO NOTHING;
    DELETE FROM user_roles WHERE user_id = '{GRACE_ID}';
    DELETE FROM personal_tokens;
    INSERT INTO personal_tokens (id, user_id, name, expires_at)
    VALUES ('{TOKEN_ID}', '{ADA_ID}', 'Nightly backup', now() + interval '1 day');
    DELETE FROM totp_secrets;
    DELETE FROM passkeys;
    INSERT INTO passkeys
      (id, credential_id, user_id, name, public_key, sign_count, transports, backed_up)
    VALUES ('{PASSKEY_ID}', '\\x{PHONE.id.hex()}', '{ADA_ID}', 'Phone',
      '\\x{PHONE.public_key.hex()}', 0, '{{}}', false);
    DELETE FROM oauth_accounts;
    INSERT INTO oauth_accounts VALUES ('google', '1', '{ADA_ID}', 'ada@example.com');
    INSERT INTO clients (id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted) VALUES
      ('wiki', 'Wiki', '\\x00', '{{}}', '{{}}', '{{openid}}', false),
      ('shop', 'Shop', '\\x{SHOP_HASH}', '{{{BACK}}}', '{{}}', '{{openid, email}}', true)
    ON CONFLICT DO NOTHING;
    INSERT INTO consents VALUES ('{ADA_ID}', 'wiki', '{{openid}}') ON CONFLICT DO NOTHING;
    DELETE FROM login_lanes"""  # noqa: S608 - nothing in it comes from elsewhere
APP = App(rules.readable(APP_SECRET := bytes(range(20))))
SEALED = rules.seal(APP_SECRET, UUID(ADA_ID), Secrets(SECRET)).hex()
START_APP = f"""
    INSERT INTO totp_secrets (user_id, sealed)
    VALUES ('{ADA_ID}', '\\x{SEALED}')"""  # noqa: S608 - as above
CONFIRM_APP = START_APP + "; UPDATE totp_secrets SET confirmed_at = now()"  # noqa: S608
MAKE_ROOM = {
    "confirm_totp": START_APP,
    "remove_totp": CONFIRM_APP,
    "renew_recovery_codes": CONFIRM_APP,
    "complete_login": CONFIRM_APP,
    "delete_me": f"INSERT INTO user_roles VALUES ('{GRACE_ID}', 'admin')",  # noqa: S608 - as above
    "create_role": "DELETE FROM roles WHERE name = 'editor'",
    "create_permission": """
        DELETE FROM role_permissions WHERE permission = 'posts:write';
        DELETE FROM permissions WHERE name = 'posts:write'""",
}
# What no file can show: it was made a moment before.
MAKE_BODY: dict[str, Callable[["Served"], dict[str, Any]]] = {
    "refresh": lambda served: {"refresh_token": served.log_in()["data"]["refresh_token"]},
    "verify_email": lambda served: {"ticket": served.ticket(VERIFY)},
    "confirm_email": lambda served: {"ticket": served.ticket(CONFIRM)},
    "reset_password": lambda served: {
        "ticket": served.ticket(RESET),
        "new_password": "four words nobody chose",
    },
    "exchange_token": lambda served: served.code(),
    "introspect": lambda served: {"token": served.admin["Authorization"].split()[1]},
    "confirm_totp": lambda _: {"code": APP.code()},
    "complete_login": lambda served: {"ticket": served.log_in()["ticket"], "code": APP.code()},
    "add_passkey": lambda served: (
        {"name": "Key"} | served.answer("/users/me/passkey-options", Authenticator().create)
    ),
    "login_with_passkey": lambda served: served.answer("/auth/passkeys/options", PHONE.get),
    "step_up_with_passkey": lambda served: served.answer(
        "/auth/step-up/passkey/options", PHONE.get
    ),
}
KAKAO_ADMIN_KEY = "what Kakao gave us"
# Who is asked for something else than an access token.
AUTHORIZATIONS: dict[str, Callable[["Served"], str]] = {
    "handle_kakao_unlink": lambda _: f"KakaoAK {KAKAO_ADMIN_KEY}",
    "resend_verification": lambda served: served.newcomer(),
    "introspect": lambda _: basic("shop", SHOP_SECRET)["Authorization"],
    "revoke": lambda _: basic("shop", SHOP_SECRET)["Authorization"],
    "show_userinfo": lambda served: served.visitor_of_the_shop(),
    "show_userinfo_by_post": lambda served: served.visitor_of_the_shop(),
}

TOMORROW = datetime.now(UTC) + timedelta(days=1)
CARRIED = write_carried(BROWSER, UUID(SESSION_ID), TOMORROW, Secrets(SECRET))
BY_COOKIE = {"issue_page_token": {"Cookie": f"holdfast_session={CARRIED}"}}


@dataclass
class Served:
    """A worker process, its database and its log, and an admin who is signed in when it matters."""

    url: str
    db: asyncpg.Connection
    loop: asyncio.Runner
    log: Path
    http: requests.Session = field(default_factory=requests.Session)
    admin: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Undo what the request before may have done: removed an example, or ended the session."""
        self.loop.run(self.db.execute(MAKE_EXAMPLES))
        if self.http.get(f"{self.url}/api/v1/users/me", headers=self.admin).status_code != 200:
            self.admin = {"Authorization": f"Bearer {self.log_in()['data']['access_token']}"}

    def log_in(self) -> Any:
        return requests.post(f"{self.url}/api/v1/auth/login", json=ADA, timeout=PATIENCE_S).json()

    def answer(self, options: str, device: Callable[[Any], Any]) -> dict[str, Any]:
        """What a browser sends for these options."""
        asked = self.http.post(f"{self.url}{API}{options}", headers=self.admin).json()["data"]
        return {"ticket": asked["ticket"], "credential": device(asked["options"])}

    def newcomer(self) -> str:
        """The authorization of somebody who has just registered."""
        body = {**ADA, "email": f"{uuid4()}@example.com"}
        requests.post(f"{self.url}{REGISTER}", json=body, timeout=PATIENCE_S)
        answer = requests.post(f"{self.url}{API}/auth/login", json=body, timeout=PATIENCE_S)
        return f"Bearer {answer.json()['data']['access_token']}"

    def code(self) -> dict[str, str]:
        """A sign-in of Ada's to the shop, ready to be exchanged."""
        facts = Code(
            client_id="shop",
            redirect_uri=BACK,
            challenge=challenge_of(VERIFIER),
            scopes=("openid", "email"),
            nonce=None,
            user_id=UUID(ADA_ID),
            browser_session=UUID(SESSION_ID),
            session_id=uuid4(),
        )
        lifetime = timedelta(minutes=1)
        issuing = issue(self.db, Secrets(SECRET), CODE, facts, lifetime=lifetime)
        return {
            "grant_type": "authorization_code",
            "client_id": "shop",
            "client_secret": SHOP_SECRET,
            "code": self.loop.run(issuing),
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
        }

    def visitor_of_the_shop(self) -> str:
        """The authorization by which the shop asks who Ada is."""
        answer = requests.post(f"{self.url}/oauth/token", data=self.code(), timeout=PATIENCE_S)
        return f"Bearer {answer.json()['access_token']}"

    def ticket(self, purpose: str) -> str:
        """What the link in a mail to Grace has."""
        grace = Arrived(UUID(GRACE_ID), "grace@example.com")
        lifetime = timedelta(minutes=1)
        issuing = issue(self.db, Secrets(SECRET), purpose, grace, lifetime=lifetime)
        return self.loop.run(issuing)

    def ask_rightly(self, case: Case[Any]) -> Response:
        """Send it as somebody who may."""
        name = case.operation.definition.raw["operationId"]
        if name in BY_COOKIE:
            return self.ask(case, BY_COOKIE[name])
        told = AUTHORIZATIONS.get(name)
        return self.ask(case, {"Authorization": told(self)} if told else self.admin)

    def ask(self, case: Case[Any], headers: dict[str, str]) -> Response:
        """Send it, and hold the answer to the contract."""
        self.http.cookies.clear()
        answer = case.call(self.url, self.http, headers)
        kwargs = {"session": self.http, "headers": headers}
        case.validate_response(answer, headers=headers, transport_kwargs=kwargs)
        if answer.status_code == 400 and case.meta and case.meta.generation.mode.is_positive:
            assert (
                "error" in answer.json()
            )  # as OAuth says it: the schema's words do not fit together
        if answer.status_code == 422 and case.meta and case.meta.generation.mode.is_positive:
            assert {error["field"] for error in answer.json()["errors"]} <= BEYOND_SCHEMA
        return answer


@pytest.fixture(scope="module")
def served(
    postgres_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("contract") / "worker.log"

    async def start(stack: AsyncExitStack) -> tuple[str, asyncpg.Connection]:
        server = await asyncpg.connect(postgres_url)
        await server.execute("CREATE DATABASE contract")
        await server.close()
        database_url = postgres_url.removesuffix("postgres") + "contract"
        await migrate(database_url, find("identity"))
        db = await asyncpg.connect(database_url, server_settings={"search_path": "identity"})
        stack.push_async_callback(db.close)
        environ = {
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey_url,
            "HOLDFAST_SECRET": SECRET,
            "HOLDFAST_LIMITS": "off",
            "HOLDFAST_DB_POOL_MIN": "1",
            "HOLDFAST_IDENTITY_HASH_DEADLINE_S": str(PATIENCE_S),
            "HOLDFAST_IDENTITY_KAKAO_ADMIN_KEY": KAKAO_ADMIN_KEY,
        }
        stderr = stack.enter_context(log.open("wb"))
        url, _ = await stack.enter_async_context(worker(environ, stderr=stderr))
        return url, db

    with asyncio.Runner() as loop:
        stack = AsyncExitStack()
        url, db = loop.run(start(stack))
        yield Served(url, db, loop, log)
        loop.run(stack.aclose())
    assert "ERROR" not in log.read_text()


@CONTRACT.parametrize()
def test_an_admin_is_answered_as_the_contract_says(case: Case[Any], served: Served) -> None:
    served.prepare()
    served.ask_rightly(case)


@GUARDED.parametrize()
def test_nobody_gets_in(case: Case[Any], served: Served) -> None:
    answer = served.ask(case, {})
    asked_otherwise = {400, 405}  # no JSON, or a method that is not there
    assert answer.status_code in {401, *asked_otherwise}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_example_in_the_contract_succeeds(served: Served, name: str) -> None:
    operation = OPERATIONS[name]
    examples: Any = operation.get_strategies_from_examples() or [st.just(operation.Case())]

    @settings(max_examples=1, derandomize=True, deadline=None, database=None)
    @given(examples[0])
    def ask(case: Case[Any]) -> None:
        served.prepare()
        served.loop.run(served.db.execute(MAKE_ROOM.get(name, "SELECT")))
        case.query.pop("cursor", None)
        if name in MAKE_BODY:
            case.body = MAKE_BODY[name](served)
        assert served.ask_rightly(case).status_code < 300

    ask()


API = "/api/v1"
REGISTER = f"{API}/auth/register"
LOGINS = "/users/me/logins?cursor="
JSON = "application/json"
FITS = b'{"email": "odd@example.com", "password": "correct horse battery"}'


def cursor(position: Any) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")


BODIES = {
    "not UTF-8": (400, JSON, b"\xff\xfe\xfd"),
    "deep": (400, JSON, b"[" * 60_000),
    "a number too long to read": (400, JSON, b'{"email": ' + b"9" * 5_000 + b"}"),
    "too large": (413, JSON, FITS.ljust(64 * 1024 + 1)),
    "a lone surrogate as a name": (422, JSON, b'{"\\ud800": 1}'),
    "a lone surrogate": (422, JSON, FITS.replace(b"odd", b"\\ud800")),
    "NUL in an address": (422, JSON, FITS.replace(b"odd", b"\\u0000")),
    "NUL in a password": (422, JSON, FITS.replace(b"correct", b"\\u0000")),
    "no object": (422, JSON, b"NaN"),
    "nothing": (422, JSON, b""),
    "text": (422, "text/plain", FITS),
    "a form": (422, "application/x-www-form-urlencoded", b"email=odd@example.com&password=a+form"),
    "no content type": (422, "; ;=", FITS),
    "a character set": (201, "application/json; charset=utf-8", FITS),
    "letters whose case is new": (201, JSON, FITS.replace(b"odd", "İ\u1c89\ua7dc".encode())),
}


@pytest.mark.parametrize("odd", BODIES)
def test_an_odd_body_is_no_fault_of_ours(served: Served, odd: str) -> None:
    status, kind, body = BODIES[odd]
    answer = served.http.post(served.url + REGISTER, data=body, headers={"Content-Type": kind})
    _check(answer, status)
    if status == 400:
        assert answer.json()["type"] == "/problems/malformed"


ADDRESSES = {
    "a parameter twice": (200, "GET", "/admin/users?limit=1&limit=2"),
    "search not UTF-8": (200, "GET", "/admin/users?search=%ff%fe"),
    "search for NUL": (422, "GET", "/admin/users?search=%00"),
    "a huge limit": (422, "GET", "/admin/users?limit=" + "9" * 5_000),
    "an unknown parameter": (422, "GET", "/admin/users?nothing=1"),
    "another list's cursor": (422, "GET", f"/admin/users?cursor={cursor('x')}"),
    "a cursor of NUL": (422, "GET", f"/admin/roles?cursor={cursor(chr(0))}"),
    "a cursor's padding": (422, "GET", f"/admin/roles?cursor={cursor('user')}=="),
    "a time without zone": (422, "GET", f"{LOGINS}{cursor(('2027-03-01T00:00:00', 1))}"),
    "a time before time": (422, "GET", f"{LOGINS}{cursor(('0001-01-01T00:00:00+23:59', 1))}"),
    "a huge position": (422, "GET", f"{LOGINS}{cursor((datetime(2027, 3, 1, tzinfo=UTC), 2**63))}"),
    "NUL": (422, "GET", "/admin/roles/%00"),
    "not UTF-8": (422, "GET", "/admin/roles/%ff"),
    "no id": (422, "DELETE", "/users/me/sessions/%00"),
    "an encoded slash": (404, "GET", "/admin/roles/a%2Fb"),
    "a trailing slash": (404, "GET", "/admin/roles/"),
    "two slashes": (404, "GET", "/users//me"),
    "HEAD": (405, "HEAD", "/users/me"),
    "OPTIONS": (405, "OPTIONS", "/users/me"),
    "TRACE": (405, "TRACE", "/users/me"),
}


@pytest.mark.parametrize("odd", ADDRESSES)
def test_an_odd_address_is_no_fault_of_ours(served: Served, odd: str) -> None:
    status, method, path = ADDRESSES[odd]
    served.prepare()
    answer = served.http.request(
        method, served.url + API + path, headers=served.admin, allow_redirects=False
    )
    _check(answer, status)
    if status == 405:
        assert answer.headers["Allow"] == "GET, PATCH, DELETE"


@pytest.mark.parametrize("mark", [b"\xff\xfe", b'"\\000"', b"=;=;==", b"A" * 4_000], ids=range(4))
def test_an_odd_device_cookie_is_ignored(served: Served, mark: bytes) -> None:
    served.prepare()
    cookies = {"Cookie": b"holdfast_device=" + mark}
    answer = served.http.post(f"{served.url}{API}/auth/login", json=ADA, headers=cookies)
    _check(answer, 200)


def _check(answer: requests.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    kind = "application/json" if answer.ok else "application/problem+json"
    assert answer.headers["Content-Type"] == kind
