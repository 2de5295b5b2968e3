"""How other services ask for what can be bought."""

from uuid import UUID

from pydantic import Field

from holdfast.core.wire import Input

MOST_AT_ONCE = 50


class OffersQuery(Input):
    id: list[UUID] = Field(min_length=1, max_length=MOST_AT_ONCE)
