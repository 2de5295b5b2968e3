"""Identity as its clients see it: over HTTP, on a real server, in this process or in others."""

from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from typing import IO

from holdfast.core.tests import serving
from holdfast.core.tests.serving import Answer, Client, served

__all__ = ["PASSWORD", "Account", "Answer", "Api", "served", "worker"]

PASSWORD = "correct horse battery staple"
_numbers = count(1)


@dataclass(frozen=True)
class Account:
    email: str
    password: str
    access: str
    refresh: str
    device: str


class Api(Client):
    """One worker. `headers` go with every call, to come from another address or device."""

    async def login(self, email: str, password: str = PASSWORD, device: str = "") -> Answer:
        body = {"email": email, "password": password}
        cookie = {"Cookie": f"holdfast_device={device}"} if device else {}
        return await self.call("POST", "/api/v1/auth/login", body, headers=cookie)

    async def sign_in(self, email: str, password: str = PASSWORD) -> Account:
        answer = await self.login(email, password)
        assert answer.status == 200, answer.body
        device = answer.headers["Set-Cookie"].split(";")[0].removeprefix("holdfast_device=")
        return Account(
            email, password, answer.data["access_token"], answer.data["refresh_token"], device
        )

    async def sign_up(self, email: str | None = None, password: str = PASSWORD) -> Account:
        address = email or f"person{next(_numbers)}@example.com"
        body = {"email": address, "password": password}
        answer = await self.call("POST", "/api/v1/auth/register", body)
        assert answer.status == 201, answer.body
        return await self.sign_in(address, password)

    async def me(self, account: Account | str) -> Answer:
        token = account if isinstance(account, str) else account.access
        return await self.call("GET", "/api/v1/users/me", token=token)

    async def refresh(self, refresh_token: str) -> Answer:
        return await self.call("POST", "/api/v1/auth/refresh", {"refresh_token": refresh_token})


def worker(
    environ: Mapping[str, str], stderr: IO[bytes] | None = None
) -> AbstractAsyncContextManager[tuple[str, Process]]:
    """Serve in a process of its own; answers the address and the process."""
    return serving.worker("identity", environ, stderr)
