"""The admin's API for OAuth clients and their service accounts."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from holdfast.apps.identity.clients import actions, queries
from holdfast.apps.identity.clients.schemas import (
    ClientChangeIn,
    ClientId,
    ClientIn,
    ClientOut,
    CreatedClientOut,
    SecretOut,
)
from holdfast.apps.identity.guard import Caller, permits
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.wire import Data, Page, PageOf, TextPosition, next_cursor
from holdfast.core.errors import NotFoundError

router = APIRouter(prefix="/api/v1/admin/clients")

Reader = Annotated[Caller, Depends(permits("clients:read"))]
Writer = Annotated[Caller, Depends(permits("clients:write"))]
Id = Annotated[ClientId, Path()]


@router.get("")
async def list_clients(here: Here, page: PageOf, caller: Reader) -> Page[ClientOut]:
    rows = await queries.select_clients(
        here.db, after=page.after(TextPosition) or "", most=page.limit
    )
    return Page(
        data=[_shown(row) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )


@router.post("", status_code=201)
async def create_client(here: Here, wanted: ClientIn, caller: Writer) -> Data[CreatedClientOut]:
    client, secret = await actions.create_client(here, caller, wanted)
    return Data(data=CreatedClientOut(**_shown(client).model_dump(), client_secret=secret))


@router.get("/{client_id}")
async def show_client(here: Here, client_id: Id, caller: Reader) -> Data[ClientOut]:
    row = await queries.select_client(here.db, client_id)
    if row is None:
        raise NotFoundError("There is no client with this id.")
    return Data(data=_shown(row))


@router.patch("/{client_id}")
async def change_client(
    here: Here, client_id: Id, wanted: ClientChangeIn, caller: Writer
) -> Data[ClientOut]:
    return Data(data=_shown(await actions.change_client(here, caller, client_id, wanted)))


@router.delete("/{client_id}", status_code=204)
async def delete_client(here: Here, client_id: Id, caller: Writer) -> Response:
    await actions.delete_client(here, caller, client_id)
    return Response(status_code=204)


@router.post("/{client_id}/secret")
async def rotate_client_secret(here: Here, client_id: Id, caller: Writer) -> Data[SecretOut]:
    secret = await actions.rotate_client_secret(here, caller, client_id)
    return Data(data=SecretOut(client_secret=secret))


def _shown(client: queries.Client) -> ClientOut:
    return ClientOut(
        client_id=client.id,
        name=client.name,
        confidential=client.secret_hash is not None,
        redirect_uris=client.redirect_uris,
        logout_uris=client.logout_uris,
        scopes=client.scopes,
        trusted=client.trusted,
        service_user_id=client.service_id,
        created_at=client.created_at,
    )
