"""The post as tests see it: mails that are kept to be read, and a mail server that takes them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec
from aiosmtpd.smtp import SMTP

from holdfast.apps.identity.mail.jobs import Office, send_waiting
from holdfast.apps.identity.mail.schemas import Letter
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity


def office_of(here: Identity, **options: Any) -> Office:
    """Identity's sender of mails; without a server it keeps them."""
    return Office(
        settings=here.settings,
        options=Options(**options),
        secrets=here.secrets,
        db=here.db,
        limits=here.limits,
        mailbox=None,
    )


async def letters_to(here: Identity, db: asyncpg.Connection, recipient: str) -> dict[str, Letter]:
    """The latest mail of each kind that this address has got by now."""
    await send_waiting(office_of(here))
    rows = await db.fetch(
        "SELECT template, content FROM mails"
        " WHERE recipient = $1 AND content IS NOT NULL ORDER BY id",
        recipient,
    )
    return {row["template"]: msgspec.json.decode(row["content"], type=Letter) for row in rows}


def ticket_in(letter: Letter) -> str:
    assert letter.link is not None
    return parse_qs(urlsplit(letter.link).query)["ticket"][0]


@dataclass
class Inbox:
    """What a mail server has taken, and what it says to some recipients instead."""

    received: list[EmailMessage] = field(default_factory=list)
    connections: int = 0
    refusals: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(self, *told: Any) -> str:  # noqa: N802
        _, _, envelope, address, _ = told
        if refusal := self.refusals.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *told: Any) -> str:  # noqa: N802
        message = message_from_bytes(told[-1].content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.received.append(message)
        return "250 OK"

    def to(self, recipient: str) -> list[EmailMessage]:
        return [message for message in self.received if message["To"] == recipient]

    @asynccontextmanager
    async def serving(self, port: int = 0, **smtp: Any) -> AsyncIterator[int]:
        """A mail server that takes mails into this inbox; answers its port."""

        def connected() -> SMTP:
            self.connections += 1
            return SMTP(self, **{"enable_SMTPUTF8": True, **smtp})

        server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
