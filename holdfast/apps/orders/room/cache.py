"""How each room was seen last, so that everybody who watches it shares one look in a second."""

from collections import OrderedDict
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.orders.room.queries import Room

HOLDS_S = 1.0
MOST = 1_000


class Seen(NamedTuple):
    room: Room
    at: float  # when its answer was here, by this worker's own clock

    def now(self) -> datetime:
        """What time it is to the database, or a moment earlier: nobody is told too soon."""
        return self.room.now + timedelta(seconds=monotonic() - self.at)


class Rooms:
    def __init__(self) -> None:
        self._seen: OrderedDict[UUID, Seen] = OrderedDict()

    def get(self, offer_id: UUID) -> Seen | None:
        seen = self._seen.get(offer_id)
        return seen if seen is not None and monotonic() < seen.at + HOLDS_S else None

    def keep(self, seen: Seen) -> None:
        self._seen[seen.room.offer_id] = seen
        self._seen.move_to_end(seen.room.offer_id)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)
