"""The public keys, for everyone who verifies our tokens."""

import msgspec
from fastapi import APIRouter, Response

from holdfast.apps.identity.keys.actions import PUBLISHED_BEFORE_SIGNING
from holdfast.apps.identity.resources import Here

router = APIRouter()


@router.get("/.well-known/jwks.json")
async def show_jwks(here: Here) -> Response:
    return Response(
        msgspec.json.encode({"keys": await here.keys.published()}),
        media_type="application/jwk-set+json",
        headers={
            "Cache-Control": f"public, max-age={PUBLISHED_BEFORE_SIGNING.total_seconds():.0f}"
        },
    )
