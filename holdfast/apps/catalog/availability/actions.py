"""The stock of offers as orders tell of it, for showing only: orders alone decide who gets one."""

from collections.abc import Sequence

import msgspec

from holdfast.apps.catalog.availability import queries
from holdfast.apps.catalog.availability.schemas import StockChanged
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.streams import Event

_decoder = msgspec.json.Decoder(StockChanged)


async def keep_availability(db: Executor, events: Sequence[Event]) -> None:
    """Keep what was told last of each offer, whatever the order in which it comes."""
    told = (_decoder.decode(event.payload) for event in events)
    newest = {stock.offer_id: stock for stock in sorted(told, key=lambda stock: stock.changes)}
    stocks = list(newest.values())
    turned = await queries.upsert_availability(
        db,
        offer_ids=[stock.offer_id for stock in stocks],
        remaining=[stock.remaining for stock in stocks],
        held=[stock.held for stock in stocks],
        sold=[stock.sold for stock in stocks],
        changes=[stock.changes for stock in stocks],
    )
    if turned:
        await epochs.touch(db, "deals")
