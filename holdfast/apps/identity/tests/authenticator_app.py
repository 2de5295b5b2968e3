"""An authenticator app as people have it: it learns a secret and shows codes."""

import time
from base64 import b32decode
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from holdfast.apps.identity.tests.api import Account, Answer, Api

TOTP_PATH = "/api/v1/users/me/totp"
SECOND_STEP = "/api/v1/auth/login/second-factor"


@dataclass(frozen=True)
class App:
    secret: str
    recovery_codes: Sequence[str] = ()

    def code(self, steps: int = 0) -> str:
        """What it shows now, or so many half minutes later."""
        key, at = b32decode(self.secret), int(time.time()) + 30 * steps
        return TOTP(key, 6, SHA1(), 30).generate(at).decode()  # noqa: S303

    def wrong_code(self) -> str:
        """A code that no step near now has."""
        key, now = b32decode(self.secret), int(time.time())
        totp = TOTP(key, 6, SHA1(), 30)  # noqa: S303
        near = {totp.generate(now + 30 * steps).decode() for steps in range(-3, 4)}
        return next(code for code in map("{:06}".format, range(8)) if code not in near)


async def verify_email(db: asyncpg.Connection, account: Account) -> None:
    await db.execute("UPDATE users SET email_verified_at = now() WHERE email = $1", account.email)


async def sign_up_verified(api: Api, db: asyncpg.Connection) -> Account:
    """A new account whose session knows that the address is verified."""
    account = await api.sign_up()
    await verify_email(db, account)
    return account


async def start_app(api: Api, account: Account) -> App:
    answer = await api.call("POST", TOTP_PATH, token=account.access)
    assert answer.status == 200, answer.body
    return App(answer.data["secret"])


async def add_app(api: Api, db: asyncpg.Connection, account: Account) -> App:
    """An authenticator app that counts; its first code may be used once more."""
    app = await start_app(api, account)
    body = {"code": app.code()}
    answer = await api.call("PUT", TOTP_PATH, body, token=account.access)
    assert answer.status == 200, answer.body
    await forget_steps(db)
    return App(app.secret, answer.data["recovery_codes"])


async def forget_steps(db: asyncpg.Connection) -> None:
    """As if half a minute had gone by: what the app shows was not used."""
    await db.execute("UPDATE totp_secrets SET last_step = 0")


async def first_step(api: Api, account: Account, device: str = "") -> str:
    """The ticket that a right password is answered with."""
    answer = await api.login(account.email, account.password, device)
    assert answer.status == 401, answer.body
    ticket: str = answer.body["ticket"]
    return ticket


async def second_step(api: Api, ticket: str, code: str, device: str = "") -> Answer:
    cookie = {"Cookie": f"holdfast_device={device}"} if device else {}
    return await api.call("POST", SECOND_STEP, {"ticket": ticket, "code": code}, headers=cookie)
