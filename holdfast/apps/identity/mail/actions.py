"""Mails are written into the transaction of what they tell, and sent by the background jobs."""

from typing import Any

import msgspec

from holdfast.apps.identity.mail import queries
from holdfast.core.db import Executor


async def post(db: Executor, template: str, recipient: str, language: str, **facts: Any) -> None:
    """Leave a mail to be sent; facts hold nothing secret."""
    await queries.insert_mail(
        db,
        template=template,
        recipient=recipient,
        language=language,
        facts=msgspec.json.encode(facts).decode(),
    )
