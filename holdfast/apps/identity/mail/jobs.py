"""Mails on their way: taken one after the other, decided about, written, and handed over.

A mail is taken by saying when the next attempt would be. So several processes never send one mail
at once, and what is cut off between sending and noting it is sent again: perhaps twice, never not
at all. The ticket in a link is committed before the mail leaves: a link that arrives works, also
when we never hear that it did.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import msgspec
from aiosmtplib import SMTP, SMTPException

from holdfast.apps.identity.mail import client, queries, rules
from holdfast.apps.identity.mail.schemas import Arrived, Letter
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.tickets.actions import issue
from holdfast.core.db import Database
from holdfast.core.errors import BusyError
from holdfast.core.limits import Limit, Limits, Spend, TooManyRequestsError
from holdfast.core.redis import is_cancelled
from holdfast.core.settings import Settings
from holdfast.shell.language import DEFAULT

IDLE_S = 0.5
LONGEST_PAUSE_S = 30.0
WHOLE_ATTEMPT_S = 40.0  # less than the first pause: nobody else has taken the mail meanwhile
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Office:
    """What it takes to send mails."""

    settings: Settings
    options: Options
    secrets: Secrets
    db: Database
    limits: Limits
    mailbox: Limit | None

    @cached_property
    def sender(self) -> str:
        usual = f"Holdfast <no-reply@{urlsplit(self.settings.origin).hostname}>"
        return self.options.mail_from or usual

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SMTP | None]:
        """To the mail server; to none in development, where mails are kept to be looked at."""
        if self.options.smtp_url is None:
            yield None
            return
        async with client.MailServer.at(self.options.smtp_url).connected() as smtp:
            yield smtp


@dataclass(frozen=True)
class Written:
    """A mail ready to leave."""

    letter: Letter
    message: EmailMessage


class NobodyError(Exception):
    """There is nobody to send this mail to."""


async def send_for_ever(office: Office) -> None:
    pause = IDLE_S
    while not is_cancelled():
        try:
            await send_waiting(office)
            pause = IDLE_S
        except (SMTPException, OSError, BusyError) as error:
            pause = min(LONGEST_PAUSE_S, pause * 2)
            log.warning("Mails wait, next try in %.1f s: %s", pause, _kind(error))
        await asyncio.sleep(pause)


async def send_waiting(office: Office) -> int:
    """Send all that are due by one connection; answers how many were taken."""
    taken = 0
    if not await queries.select_mail_waiting(office.db):
        return taken
    async with office.connected() as smtp:
        while mail := await queries.update_mail_taken(office.db):
            taken += 1
            async with asyncio.timeout(WHOLE_ATTEMPT_S):
                await _send(office, smtp, mail)
    return taken


async def _send(office: Office, smtp: SMTP | None, mail: queries.Waiting) -> None:
    which: dict[str, Any] = {"id": mail.id, "created_at": mail.created_at}
    try:
        written = await _write(office, mail)
        if smtp is not None:
            await client.deliver(smtp, written.message, mail.recipient)
    except NobodyError as reason:
        await queries.update_mail_done(office.db, **which, content=None, note=str(reason))
    except client.RefusedError as refusal:
        level = logging.WARNING if refusal.for_good else logging.INFO
        log.log(level, "Mail %s was refused, for good: %s", mail.id, refusal.for_good)
        await queries.update_mail_failed(
            office.db, **which, reason=str(refusal), for_good=refusal.for_good
        )
    except (SMTPException, OSError, BusyError) as error:
        await queries.update_mail_failed(office.db, **which, reason=_kind(error), for_good=False)
        raise
    except Exception as error:  # one mail that cannot be written holds up no other
        log.exception("Mail %s (%s) cannot be written", mail.id, mail.template)
        await queries.update_mail_failed(office.db, **which, reason=_kind(error), for_good=False)
    else:
        kept = msgspec.json.encode(written.letter).decode() if smtp is None else None
        await queries.update_mail_done(office.db, **which, content=kept, note=None)


async def _write(office: Office, mail: queries.Waiting) -> Written:
    facts: dict[str, Any] = msgspec.json.decode(mail.facts)
    reader = await _reader_of(office.db, mail, facts)
    await _spare_the_mailbox(office, mail)
    language = reader.language if reader else mail.language
    if language not in rules.WORDS[mail.template]:
        language = DEFAULT
    link = await _link(office, mail, reader.user_id) if reader else None
    letter = rules.write_letter(mail.template, language, facts, link, mail.created_at)
    try:
        message = rules.message_of(
            letter,
            mail.id,
            language,
            mail.created_at,
            sender=office.sender,
            to=mail.recipient,
            origin=office.settings.origin,
        )
    except (ValueError, IndexError) as error:  # what the standard library says of odd addresses
        raise client.RefusedError("No mail can be sent to this address.", for_good=True) from error
    return Written(letter, message)


async def _reader_of(
    db: Database, mail: queries.Waiting, facts: dict[str, Any]
) -> queries.Reader | None:
    """Whose mail it is, decided now. Whoever asked for it has learned nothing of this."""
    match mail.template:
        case "confirm_email":
            reader = await queries.select_mover(
                db, user_id=UUID(facts["user_id"]), email=mail.recipient
            )
        case "verify_email" | "register_repeated" | "reset_requested" | "new_device":
            reader = await queries.select_reader(db, mail.recipient)
        case _:
            return None  # a notice to the address that was the account's when it was posted
    if reader is None:
        raise NobodyError("Not sent: no account, or the address is taken.")
    if mail.template == "verify_email" and reader.verified:
        raise NobodyError("Not sent: the address is verified.")
    if mail.template == "new_device" and not await queries.select_signed_in_before(
        db, user_id=reader.user_id, moment=mail.created_at
    ):
        raise NobodyError("Not sent: it was the first device.")
    return reader


async def _link(office: Office, mail: queries.Waiting, user_id: UUID) -> str | None:
    link = rules.LINKS.get(mail.template)
    if link is None:
        return None
    ticket = await issue(
        office.db,
        office.secrets,
        link.purpose,
        Arrived(user_id, mail.recipient),
        lifetime=link.lifetime,
        user_id=user_id,
    )
    return f"{office.settings.origin}{link.path}?{urlencode({'ticket': ticket})}"


async def _spare_the_mailbox(office: Office, mail: queries.Waiting) -> None:
    """Nobody floods a mailbox by knowing its address. Counted here, no answer can tell of it."""
    if office.mailbox is None or mail.attempts > 1 or mail.template not in rules.ANYONE_CAUSES:
        return
    who = office.secrets.sign("mailbox", mail.template.encode(), mail.recipient.encode()).hex()
    try:
        await office.limits.admit(Spend(office.mailbox, who))
    except TooManyRequestsError:
        raise NobodyError("Not sent: too many such mails to this address.") from None


def _kind(error: Exception) -> str:
    """Without its text, which may repeat what was sent."""
    code = getattr(error, "code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
