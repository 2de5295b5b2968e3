"""Who is calling, over gRPC: for services that stand behind identity."""

from starlette.types import Scope

from holdfast.apps.identity.guard import identify
from holdfast.apps.identity.resources import Identity
from holdfast.stubs.identity.v1.access_pb2 import WhoAmIRequest, WhoAmIResponse


async def who_am_i(here: Identity, asked: WhoAmIRequest, scope: Scope) -> WhoAmIResponse:
    caller = await identify(here, scope)
    return WhoAmIResponse(id=str(caller.user_id), permissions=sorted(caller.grants.permissions))


methods = {"holdfast.identity.v1.Access/WhoAmI": who_am_i}
