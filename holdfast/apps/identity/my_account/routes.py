"""The account's own page: what its owner is called, and what was done with it; and its data."""

from pathlib import Path
from typing import Annotated

import msgspec
from fastapi import Form, Request, Response
from fastapi.responses import StreamingResponse

from holdfast.apps.identity import browser
from holdfast.apps.identity.accounts.actions import change_me
from holdfast.apps.identity.accounts.schemas import ChangeMeIn
from holdfast.apps.identity.addresses import actions as addresses
from holdfast.apps.identity.addresses.schemas import ChangeEmailIn
from holdfast.apps.identity.audit.queries import select_audit
from holdfast.apps.identity.audit.rules import activity_of
from holdfast.apps.identity.browser import FreshPerson, Person
from holdfast.apps.identity.frame import FramedPages, go, page_router
from holdfast.apps.identity.guard import admit_exactly
from holdfast.apps.identity.history.queries import select_logins
from holdfast.apps.identity.history.routes import BEFORE_ALL
from holdfast.apps.identity.my_account.schemas import DeleteForm
from holdfast.apps.identity.privacy import actions as privacy
from holdfast.apps.identity.resources import Here

LATELY = 10

pages = FramedPages("my_account", Path(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)


@router.get("/account")
async def show_account(here: Here, request: Request, person: Person) -> Response:
    period, position = BEFORE_ALL
    async with here.db.reader() as db:
        logins = await select_logins(
            db,
            user_id=person.user_id,
            before_period=period,
            before_position=position,
            most=LATELY,
        )
        done = await select_audit(
            db, user_id=person.user_id, actor_id=None, action=None, before=None, most=LATELY
        )
    return pages.page(
        request,
        "account.html",
        me=msgspec.json.decode(person.grants.profile)["data"],
        logins=logins,
        activity=[activity_of(row, person.user_id) for row in done],
    )


@router.post("/account/profile")
async def change_profile(
    here: Here, person: Person, wanted: Annotated[ChangeMeIn, Form()]
) -> Response:
    whole = ChangeMeIn(name=wanted.name, language=wanted.language)  # an emptied field says nothing
    await change_me(here, person.user_id, whole)
    read_in = {"lang": wanted.language} if wanted.language else {}
    return go("/account", done="profile-changed", **read_in)


@router.post("/account/email")
async def change_email(
    here: Here, request: Request, person: FreshPerson, wanted: Annotated[ChangeEmailIn, Form()]
) -> Response:
    await admit_exactly(here, request.scope, "links", person.user_id)
    await addresses.change_email(here, person, wanted.email)
    return go("/account", done="email-asked")


@router.post("/account/email/verify")
async def resend_verification(here: Here, request: Request, person: Person) -> Response:
    await admit_exactly(here, request.scope, "links", person.user_id)
    await addresses.resend_verification(here, person)
    return go("/account", done="verification-sent")


@router.get("/account/data")
async def show_data(request: Request, person: Person) -> Response:
    return pages.page(request, "data.html")


@router.post("/account/data/export")
async def export_data(here: Here, person: FreshPerson) -> Response:
    return StreamingResponse(
        await privacy.export_me(here, person.user_id),
        media_type="application/json",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="my-data.json"',
        },
    )


@router.post("/account/data/delete")
async def delete_account(
    here: Here, person: FreshPerson, wanted: Annotated[DeleteForm, Form()]
) -> Response:
    wanted.confirm(person.grants.email)
    await privacy.delete_me(here, person.user_id)
    response = go("/sign-in", done="account-deleted")
    browser.end(here, response)
    return response
