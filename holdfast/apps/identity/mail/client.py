"""The mail server that takes our mails: one connection for all that wait at a moment.

Credentials are only sent over TLS to a server whose certificate is valid. Without credentials TLS
is used when the server offers it, whoever's certificate it shows: a relay beside us has one of its
own making, and clear text would be no safer.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import parseaddr
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

TIMEOUT_S = 10.0  # for each step
PERMANENT = 500
LONGEST_REASON = 300


class RefusedError(Exception):
    """The server answered, and did not take this mail: for now, or for good."""

    def __init__(self, reason: str, *, for_good: bool) -> None:
        super().__init__(reason[:LONGEST_REASON])
        self.for_good = for_good


class MailServer(NamedTuple):
    host: str
    port: int
    user: str | None
    password: str | None
    tls_from_the_start: bool

    @classmethod
    def at(cls, url: str) -> Self:
        parts = urlsplit(url)
        tls = parts.scheme == "smtps"
        return cls(
            host=parts.hostname or "",
            port=parts.port or (465 if tls else 587),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls_from_the_start=tls,
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SMTP]:
        has_secrets = self.user is not None
        smtp = SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password,
            use_tls=self.tls_from_the_start,
            start_tls=None if self.tls_from_the_start or not has_secrets else True,
            validate_certs=self.tls_from_the_start or has_secrets,
            timeout=TIMEOUT_S,
        )
        async with smtp:
            yield smtp


async def deliver(smtp: SMTP, message: EmailMessage, recipient: str) -> None:
    """Hand a mail over. What is wrong with the connection is raised as it is."""
    sender = parseaddr(str(message["From"]))[1]
    try:
        await smtp.send_message(message, sender=sender, recipients=[recipient])
    except SMTPRecipientsRefused as error:
        raise _refused(error.recipients[0]) from error
    except (SMTPNotSupported, ValueError) as error:
        raise RefusedError(str(error), for_good=True) from error
    except SMTPResponseException as error:
        raise _refused(error) from error


def _refused(error: SMTPResponseException) -> RefusedError:
    """A refusal of ourselves is our mistake, not the mail's; it can be mended."""
    about_this_mail = isinstance(error, SMTPRecipientRefused | SMTPDataError)
    for_good = about_this_mail and error.code >= PERMANENT
    return RefusedError(f"{error.code} {error.message}", for_good=for_good)
