"""When the catalog confirmed each offer, as this worker knows it. What it said is a row."""

from collections import OrderedDict
from typing import NamedTuple
from uuid import UUID

MOST = 100_000


class Confirmed(NamedTuple):
    """When it was, by this worker's own clock; and whether one needs to be admitted to order."""

    at: float
    ask_again_at: float
    has_room: bool


class Confirmations:
    def __init__(self) -> None:
        self._offers: OrderedDict[UUID, Confirmed] = OrderedDict()
        self.catalog_away = False  # it did not answer when it was asked last
        self.ask_nothing_until = 0.0  # by then it may be back

    def get(self, offer_id: UUID) -> Confirmed | None:
        return self._offers.get(offer_id)

    def is_newer_than(self, moment: float, offer_id: UUID) -> bool:
        confirmed = self._offers.get(offer_id)
        return confirmed is not None and confirmed.at > moment

    def keep(self, offer_id: UUID, confirmed: Confirmed) -> None:
        self._offers[offer_id] = confirmed
        self._offers.move_to_end(offer_id)
        if len(self._offers) > MOST:
            self._offers.popitem(last=False)
