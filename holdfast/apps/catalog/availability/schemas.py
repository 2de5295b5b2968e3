"""What orders tell of an offer's stock, and what is shown of it."""

from uuid import UUID

import msgspec
from pydantic import BaseModel


class StockChanged(msgspec.Struct, frozen=True):
    offer_id: UUID
    remaining: int
    held: int
    sold: int
    changes: int  # numbers the states of an offer's stock: the highest is the newest


class StockOut(BaseModel):
    remaining: int
    held: int
    sold: int
