"""What services behind identity ask: who is calling, over either wire, and true at this moment."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from holdfast.apps.identity.main import service
from holdfast.apps.identity.resources import Identity as Here
from holdfast.apps.identity.tests.api import Account, Api
from holdfast.apps.identity.tests.conftest import PATIENCE_S
from holdfast.cli.servers import free_port
from holdfast.core import identity
from holdfast.core.callers import Callers
from holdfast.core.errors import ForbiddenError, UnauthenticatedError
from holdfast.core.rpc import channel
from holdfast.core.rpc.server import answering
from holdfast.core.settings import Settings

MAY = "audit:read"


@pytest.fixture(params=["http", "grpc"])
async def callers(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    here: Here,
    other: Api,
    settings: Settings,
) -> AsyncIterator[Callers]:
    """Of a service that asks another worker than the one where accounts are changed, patiently."""
    monkeypatch.setattr(identity, "ANSWERS_WITHIN_S", PATIENCE_S)
    monkeypatch.setattr(channel, "CONNECT_WITHIN_S", PATIENCE_S)
    address = f"127.0.0.1:{free_port()}"
    over_grpc = f"grpc://{address}" if request.param == "grpc" else None
    there = settings.model_copy(update={"identity_url": other.url, "identity_grpc": over_grpc})
    async with (
        answering(service(settings, here.options), here, address, drain_s=2),
        aiohttp.ClientSession() as http,
        identity.identity_of(there, http) as asked,
    ):
        yield Callers(there, asked)


async def asks(callers: Callers, token: str, permission: str = MAY) -> str:
    scope = {"type": "http", "headers": [(b"authorization", b"Bearer " + token.encode("latin-1"))]}
    return str(await callers.require(scope, permission))


async def test_who_am_i_is_the_bearer_with_what_they_may(
    callers: Callers, api: Api, admin: Account
) -> None:
    me = (await api.me(admin)).data
    for permission in me["permissions"]:
        assert await asks(callers, admin.access, permission) == me["id"]
    with pytest.raises(ForbiddenError):
        await asks(callers, admin.access, "catalog:eat")


async def test_who_am_i_holds_on_the_very_next_call(
    callers: Callers, api: Api, admin: Account
) -> None:
    account = await api.sign_up()
    user_id = (await api.me(account)).data["id"]
    roles = f"/api/v1/admin/users/{user_id}/roles/admin"
    for _ in range(3):
        with pytest.raises(ForbiddenError):
            await asks(callers, account.access)
        assert (await api.call("PUT", roles, token=admin.access)).status == 204
        assert await asks(callers, account.access) == user_id
        assert (await api.call("DELETE", roles, token=admin.access)).status == 204
    assert (await api.call("POST", "/api/v1/auth/logout", token=account.access)).status == 204
    with pytest.raises(UnauthenticatedError):
        await asks(callers, account.access)


async def test_who_am_i_knows_nobody_by_a_token_that_is_not_good(
    callers: Callers, admin: Account
) -> None:
    changed = admin.access[:-2] + ("AA" if admin.access[-2:] != "AA" else "BB")
    for token in ("", " ", "me", "hfp_none", changed, "ÿ" * 20, "a\tb", "x" * 5_000, "x" * 50_000):
        with pytest.raises(UnauthenticatedError):
            await asks(callers, token)
    assert await asks(callers, admin.access)
