"""Personal access tokens are listed, made and revoked: by their owner, never by a token."""

from uuid import UUID

from fastapi import APIRouter, Response

from holdfast.apps.identity.guard import FreshlySignedIn, InPerson, require_verified
from holdfast.apps.identity.personal_tokens import actions, queries
from holdfast.apps.identity.personal_tokens.schemas import (
    NewPersonalTokenOut,
    PersonalTokenIn,
    PersonalTokenOut,
)
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.wire import Data, Page, PageOf, next_cursor

router = APIRouter(prefix="/api/v1/users/me/tokens")


@router.get("")
async def list_tokens(here: Here, caller: InPerson, page: PageOf) -> Page[PersonalTokenOut]:
    rows = await queries.select_tokens(
        here.db, user_id=caller.user_id, before=page.after(UUID), most=page.limit
    )
    return Page(
        data=[PersonalTokenOut(**row._asdict()) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )


@router.post("", status_code=201)
async def create_token(
    here: Here, caller: FreshlySignedIn, wanted: PersonalTokenIn
) -> Data[NewPersonalTokenOut]:
    require_verified(caller)
    made = await actions.create_token(
        here, caller, name=wanted.name, scopes=wanted.scopes, days=wanted.expires_in_days
    )
    return Data(data=NewPersonalTokenOut(**made.token._asdict(), token=made.text))


@router.delete("/{token_id}", status_code=204)
async def revoke_token(here: Here, caller: InPerson, token_id: UUID) -> Response:
    await actions.revoke_token(here, caller.user_id, token_id)
    return Response(status_code=204)
