"""The examples of docs/behind-identity.md, run as they are shown, behind an identity that is real."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import asyncpg
import bcrypt
import pytest

from holdfast.apps.identity.keys.actions import rotate_keys
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Account, Api
from holdfast.apps.identity.tests.test_tokens import forgeries, opened
from holdfast.cli.servers import free_port

PATIENCE_S = 30


@asynccontextmanager
async def program(
    url: str, ready: str, *arguments: str, environ: Mapping[str, str]
) -> AsyncIterator[Api]:
    """Run a Python module as people do, until it answers."""
    port = url.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments, "--port", port),
        env={**os.environ, **environ},
    )
    try:
        async with asyncio.timeout(PATIENCE_S), Api.at(url) as looking:
            while not await _answers(looking, ready):
                assert process.returncode is None, "It ended; see what it has written."
                await asyncio.sleep(0.05)
        # With new connections: the server may be closing one that was not used for a while.
        async with Api.at(url) as api:
            yield api
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(api: Api, path: str) -> bool:
    try:
        async with api.http.get(api.url + path) as answer:
            return answer.status < 500
    except aiohttp.ClientError:
        return False


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Its public address is its own: what signs `iss` is where the keys are."""
    return environ | {"HOLDFAST_ORIGIN": f"http://127.0.0.1:{free_port()}"}


@pytest.fixture
async def api(environ: dict[str, str]) -> AsyncIterator[Api]:
    url = environ["HOLDFAST_ORIGIN"]
    serve = ("holdfast.cli.main", "serve", "identity")
    async with program(url, "/health/ready", *serve, environ=environ) as api:
        yield api


@pytest.fixture
async def example(request: pytest.FixtureRequest, api: Api, repository: Path) -> AsyncIterator[Api]:
    """The example of that name, told only where identity is."""
    url = f"http://127.0.0.1:{free_port()}"
    shown = ("uvicorn", f"{request.param}:app", "--app-dir", str(repository / "docs/examples"))
    async with program(url, "/", *shown, environ={"IDENTITY_URL": api.url}) as example:
        yield example


running = pytest.mark.parametrize("example", ["notes_service"], indirect=True)


@running
async def test_each_has_their_own_notes_and_a_forged_token_gives_none(
    api: Api, example: Api
) -> None:
    ada, eve = await api.sign_up(), await api.sign_up()
    written = await example.call("POST", "/notes", {"text": "Tea at five"}, token=ada.access)
    assert (written.status, written.body) == (201, ["Tea at five"])
    assert (await example.call("GET", "/notes", token=ada.access)).body == ["Tea at five"]
    assert (await example.call("GET", "/notes", token=eve.access)).body == []
    nobody = await example.call("GET", "/notes")
    assert (nobody.status, nobody.body["type"]) == (401, "/problems/unauthenticated")
    assert nobody.headers["WWW-Authenticate"] == "Bearer"
    forged = await forgeries(api, ada)
    forged.pop("not text")  # no client can send it
    for name, token in {**forged, "a refresh token": ada.refresh}.items():
        assert (await example.call("GET", "/notes", token=token)).status == 401, name


@running
async def test_the_example_goes_on_through_a_rotation_and_learns_of_a_logout_at_the_tokens_end(
    api: Api, example: Api, here: Identity
) -> None:
    before = await api.sign_up()
    assert (await example.call("GET", "/notes", token=before.access)).status == 200
    await rotate(here)
    after = await api.sign_in(before.email)
    assert opened(before.access, 0)["kid"] != opened(after.access, 0)["kid"]
    await asyncio.sleep(1.1)  # it looks for unknown keys once a second
    assert (await api.call("POST", "/api/v1/auth/logout", token=after.access)).status == 204
    assert (await api.me(after)).status == 401
    for account in (before, after):
        assert (await example.call("GET", "/notes", token=account.access)).status == 200


async def rotate(here: Identity) -> None:
    await rotate_keys(
        here.lease,
        alg=here.options.token_alg,
        sealing_key=here.sealing_key,
        access_ttl=here.access_ttl,
        lead=timedelta(0),
    )


@pytest.mark.parametrize("example", ["notice_service"], indirect=True)
async def test_a_service_that_asks_identity_follows_every_change_at_once(
    api: Api, example: Api, db: asyncpg.Connection
) -> None:
    ada = await api.sign_up("ada@example.com")

    async def change(account: Account) -> int:
        return (await example.call("PUT", "/notice", {"text": "Hi"}, token=account.access)).status

    assert await change(ada) == 403
    await db.execute(
        """INSERT INTO permissions VALUES ('notices:write', '');
        INSERT INTO roles VALUES ('herald', '');
        INSERT INTO role_permissions VALUES ('herald', 'notices:write');
        INSERT INTO user_roles SELECT id, 'herald' FROM users;
        INSERT INTO user_roles SELECT id, 'admin' FROM users"""
    )
    ada = await api.sign_in("ada@example.com")
    assert await change(ada) == 200
    assert (await example.call("GET", "/notice")).body == "Hi"
    user_id = opened(ada.access, 1)["sub"]
    path = f"/api/v1/admin/users/{user_id}/roles/herald"
    assert (await api.call("DELETE", path, token=ada.access)).status == 204
    assert await change(ada) == 403
    await api.call("POST", "/api/v1/auth/logout", token=ada.access)
    assert await change(ada) == 401


@pytest.mark.parametrize("name", ["notes_service", "notice_service"])
def test_an_example_is_shorter_than_forty_lines(repository: Path, name: str) -> None:
    text = (repository / f"docs/examples/{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    guide = (repository / "docs/behind-identity.md").read_text(encoding="utf-8")
    assert f"examples/{name}.py" in guide


async def test_bcrypt_users_are_brought_by_the_sql_of_the_guide(
    api: Api, db: asyncpg.Connection, repository: Path
) -> None:
    """The guide's own statements, on a table as others have it."""
    guide = (repository / "docs/bring-your-users.md").read_text(encoding="utf-8")
    statements = guide.partition("```sql\n")[2].partition("```")[0]
    known = bcrypt.hashpw(b"an old password", bcrypt.gensalt(rounds=4)).decode()
    await db.execute(
        f"""CREATE TABLE public.old_users
        (email text, password_hash text, name text, created_at timestamptz, verified boolean);
        INSERT INTO public.old_users VALUES
        (' Ada@Example.com', '{known}', 'Ada', '2020-02-29Z', true),
        ('bob@example.com', '{known.replace("$2b$", "$2y$")}', '', '2021-01-01Z', false),
        ('eve@example.com', '$1$not$bcrypt', NULL, now(), true),
        ('no address', '{known}', NULL, now(), true)"""  # noqa: S608 - nothing from elsewhere
    )
    for _ in range(2):  # whoever runs it again brings nobody twice
        await db.execute(statements)
    rows = await db.fetch(
        "SELECT email, name, email_verified_at IS NOT NULL AS verified FROM users ORDER BY email"
    )
    assert [tuple(row) for row in rows] == [
        ("ada@example.com", "Ada", True),
        ("bob@example.com", None, False),
    ]
    for email in ("ada@example.com", "bob@example.com"):
        account = await api.sign_in(email, "an old password")
        assert (await api.me(account)).data["roles"] == ["user"]
    hashes = await db.fetch("SELECT password_hash FROM credentials")
    assert all(row["password_hash"].startswith("$argon2id$") for row in hashes)
