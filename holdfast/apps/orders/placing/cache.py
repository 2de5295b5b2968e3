"""What is sold out, in this worker's memory, so that the many who come too late cost little.

A customer who got one is not turned away from memory: their retry must find their order. So an
entry knows everybody who did, by the places that were given, and holds for a moment only; then one
request goes through to the database, which alone decides. Memory refuses; it never grants.

What it cannot know: whoever got a unit that came back within that moment, through another worker,
and lost the answer, may hear from this one that it is sold out, until the moment is over.
"""

from collections.abc import Iterable
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.orders.placing.schemas import Asked

HOLDS_S = 0.25
MOST_BUYERS = 200_000  # in all, about 30 MB; of a sale with more every request is asked about
MOST_OFFERS = 1_000


class Entry(NamedTuple):
    places: int  # how many were given when it was sold out
    buyers: set[UUID]
    until: float


class SoldOut:
    def __init__(self) -> None:
        self._entries: dict[UUID, Entry] = {}
        self._buyers = 0

    def covers(self, order: Asked) -> bool:
        """Whether it can be refused without asking."""
        for item in order.items:
            entry = self._entries.get(item.offer_id)
            if (
                entry is not None
                and monotonic() < entry.until
                and order.customer_id not in entry.buyers
            ):
                return True
        return False

    def places(self, offer_id: UUID) -> int:
        """Up to which place of an offer the buyers are known here."""
        entry = self._entries.get(offer_id)
        return entry.places if entry else 0

    def note(
        self, offer_id: UUID, *, after: int, places: int, buyers: Iterable[UUID], seen_at: float
    ) -> None:
        """It was seen sold out; `buyers` are those of the places from `after` on."""
        if self.places(offer_id) < after:
            return  # it was forgotten meanwhile, and with it who has the places before
        known = self._forget(offer_id)
        known.buyers.update(buyers)
        self._entries[offer_id] = Entry(
            max(known.places, places), known.buyers, max(known.until, seen_at + HOLDS_S)
        )
        self._buyers += len(known.buyers)
        while len(self._entries) > MOST_OFFERS or self._buyers > MOST_BUYERS:
            self._forget(next(iter(self._entries)))  # the one that was noted longest ago

    def _forget(self, offer_id: UUID) -> Entry:
        entry = self._entries.pop(offer_id, None) or Entry(0, set(), 0)
        self._buyers -= len(entry.buyers)
        return entry
