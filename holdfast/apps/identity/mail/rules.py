"""Mails as pure values: what each of them says, in which language, and which link it carries."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from holdfast.apps.identity.devices import read_device
from holdfast.apps.identity.mail.schemas import Letter

LETTERS = Path(__file__).parent / "letters"
PLAIN = re.compile(r"[\w -]{1,40}")  # nothing that a mail program would make a link of

VERIFY, CONFIRM, RESET = "verify_email", "confirm_email", "reset_password"


class Link(NamedTuple):
    """A page of ours, and for what and how long the ticket in its address is good."""

    path: str
    purpose: str
    lifetime: timedelta


LINKS = {
    "verify_email": Link("/verify-email", VERIFY, timedelta(hours=24)),
    "confirm_email": Link("/confirm-email", CONFIRM, timedelta(hours=24)),
    "reset_requested": Link("/reset-password", RESET, timedelta(hours=1)),
}

# Whoever knows an address can have these sent to it; so no mailbox gets more than a few.
ANYONE_CAUSES = {"verify_email", "register_repeated", "confirm_email", "reset_requested"}


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subject: str
    before: list[str]
    after: list[str]
    button: str | None = None


WORDS = msgspec.convert(
    yaml.load((LETTERS / "words.yaml").read_bytes(), Loader=yaml.CSafeLoader),
    dict[str, dict[str, Words]],
)
DEVICES = {
    "en": {"on": "{program} on {system}", "unknown": "unknown"},
    "ko": {"on": "{system}의 {program}", "unknown": "알 수 없음"},
}
_TEMPLATES = Environment(
    loader=FileSystemLoader(LETTERS),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def write_letter(
    template: str, language: str, facts: Mapping[str, Any], link: str | None, at: datetime
) -> Letter:
    words = WORDS[template][language]
    told = {
        **facts,
        "at": f"{at:%Y-%m-%d %H:%M} UTC",
        "device": _device(facts.get("device", ""), language),
    }
    return Letter(
        subject=words.subject,
        before=[paragraph.format(**told) for paragraph in words.before],
        after=[paragraph.format(**told) for paragraph in words.after],
        button=words.button,
        link=link,
    )


def message_of(
    letter: Letter, mail_id: UUID, language: str, at: datetime, *, sender: str, to: str, origin: str
) -> EmailMessage:
    """As it goes over the wire. Sent twice it is the same message, which many mailboxes know."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(addr_spec=to)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{mail_id}@{urlsplit(origin).hostname}>"
    message["Content-Language"] = language
    message["Auto-Submitted"] = "auto-generated"
    context = {"letter": letter, "language": language, "origin": origin}
    message.set_content(_TEMPLATES.get_template("letter.txt").render(context))
    html = _TEMPLATES.get_template("letter.html").render(context)
    message.add_alternative(html, subtype="html")
    return message


def _device(user_agent: str, language: str) -> str:
    words, device = DEVICES[language], read_device(user_agent)
    if device.program and device.system:
        return words["on"].format(program=device.program, system=device.system)
    name = device.program or device.system
    return name if PLAIN.fullmatch(name) else words["unknown"]
