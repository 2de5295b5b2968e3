"""The mails as pages, so that links can be followed where no mail server is. In development only."""

from pathlib import Path
from uuid import UUID

import msgspec
from fastapi import Depends, Request, Response

from holdfast.apps.identity.frame import FramedPages, page_router
from holdfast.apps.identity.mail import queries
from holdfast.apps.identity.mail.rules import WORDS
from holdfast.apps.identity.mail.schemas import Letter
from holdfast.apps.identity.resources import Here
from holdfast.core.errors import NotFoundError

SHOWN = 100


async def in_development(here: Here) -> None:
    if here.settings.profile != "development":
        raise NotFoundError


pages = FramedPages("mail", Path(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)


@router.get("/mail", dependencies=[Depends(in_development)])
async def show_mails(here: Here, request: Request) -> Response:
    mails = await queries.select_mails(here.db, SHOWN)
    return pages.page(request, "mails.html", mails=mails, words=WORDS)


@router.get("/mail/{mail_id}", dependencies=[Depends(in_development)])
async def show_mail(here: Here, request: Request, mail_id: UUID) -> Response:
    mail = await queries.select_mail(here.db, mail_id)
    if mail is None:
        raise NotFoundError
    letter = msgspec.json.decode(mail.content, type=Letter) if mail.content else None
    return pages.page(request, "mail.html", mail=mail, letter=letter)
