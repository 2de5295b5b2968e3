"""Where somebody is signed in: their sessions, the services that know them, and their own tokens."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import Form, Request, Response
from fastapi import Path as InPath

from holdfast.apps.identity.authorization import actions as authorization
from holdfast.apps.identity.authorization.queries import select_consents
from holdfast.apps.identity.browser import FreshPerson, Person
from holdfast.apps.identity.clients.schemas import ClientId
from holdfast.apps.identity.frame import FramedPages, go, page_router
from holdfast.apps.identity.guard import require_verified
from holdfast.apps.identity.my_sessions.schemas import NewTokenForm
from holdfast.apps.identity.personal_tokens import actions as tokens
from holdfast.apps.identity.personal_tokens.queries import select_tokens
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.sessions import actions as sessions
from holdfast.apps.identity.sessions.queries import select_open_sessions

AT_ONCE = 50

pages = FramedPages("my_sessions", Path(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)


@router.get("/account/sessions")
async def show_sessions(
    here: Here, request: Request, person: Person, before: UUID | None = None
) -> Response:
    open_ones = await select_open_sessions(
        here.db, user_id=person.user_id, before=before, most=AT_ONCE
    )
    services = await select_consents(here.db, user_id=person.user_id, after="", most=AT_ONCE)
    own = await select_tokens(here.db, user_id=person.user_id, before=None, most=tokens.MOST)
    return pages.page(
        request,
        "sessions.html",
        sessions=open_ones,
        older=open_ones[-1].id if len(open_ones) == AT_ONCE else None,
        services=services,
        tokens=own,
        permissions=sorted(person.grants.permissions),
    )


@router.post("/account/sessions/{session_id}/end")
async def end_session(here: Here, person: Person, session_id: UUID) -> Response:
    await sessions.end_session(here, session_id, owner=person.user_id)
    return go("/account/sessions", done="session-ended")


@router.post("/account/sessions/end-others")
async def end_other_sessions(here: Here, person: Person) -> Response:
    await sessions.log_out_everywhere(here, person.user_id, but=person.session_id)
    return go("/account/sessions", done="sessions-ended")


@router.post("/account/sessions/services/{client_id}/revoke")
async def revoke_consent(
    here: Here, person: Person, client_id: Annotated[ClientId, InPath()]
) -> Response:
    await authorization.revoke_consent(here, person.user_id, client_id)
    return go("/account/sessions", done="consent-revoked")


@router.post("/account/sessions/tokens")
async def create_token(
    here: Here, request: Request, person: FreshPerson, wanted: Annotated[NewTokenForm, Form()]
) -> Response:
    require_verified(person)
    made = await tokens.create_token(
        here,
        person,
        name=wanted.name,
        scopes=None if wanted.everything else wanted.scopes,
        days=wanted.expires_in_days,
    )
    return pages.page(request, "token.html", made=made)


@router.post("/account/sessions/tokens/{token_id}/revoke")
async def revoke_token(here: Here, person: Person, token_id: UUID) -> Response:
    await tokens.revoke_token(here, person.user_id, token_id)
    return go("/account/sessions", done="token-revoked")
