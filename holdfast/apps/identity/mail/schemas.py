"""What is known of a mail: what it proves, and what it says."""

from uuid import UUID

import msgspec


class Arrived(msgspec.Struct, frozen=True):
    """What the ticket in a link proves: that whoever has it reads the mail of this address."""

    user_id: UUID
    email: str


class Letter(msgspec.Struct, frozen=True):
    """A mail in words, as it is sent, or kept to be looked at in development."""

    subject: str
    before: list[str]
    after: list[str]
    button: str | None = None
    link: str | None = None
