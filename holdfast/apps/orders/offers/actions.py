"""What is sold is what the catalog says: asked when an offer is new here, and again while it sells.

An offer that sells is asked about every two seconds, beside the orders. One that nobody has bought
for a while is asked about first, so that no order goes by an old price. While the catalog is away
its last word holds for `stale_s`; then orders refuse rather than sell by it. Nobody has to help
when it is back.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context
from time import monotonic
from uuid import UUID

from holdfast.apps.orders.handover.actions import serve_waiting
from holdfast.apps.orders.offers import queries
from holdfast.apps.orders.offers.cache import Confirmed
from holdfast.apps.orders.offers.client import MOST_AT_ONCE
from holdfast.apps.orders.offers.schemas import CatalogAwayError, Offer, UnknownOfferError
from holdfast.apps.orders.resources import Orders
from holdfast.core.errors import BusyError

ASK_AGAIN_S = 2.0
ASK_FIRST_S = 5.0
LEAVE_CATALOG_ALONE_S = 1.0
log = logging.getLogger(__name__)


async def require_offers(here: Orders, ids: Sequence[UUID]) -> None:
    """Return when the catalog's word on all of these is young enough to sell by, or refuse."""
    now = monotonic()
    oldest = now - _holds_s(here)
    old = []
    for offer_id in ids:
        known = here.known.get(offer_id)
        if known is None or known.at < oldest:
            old.append(offer_id)
        elif now > known.ask_again_at:
            here.known.keep(offer_id, known._replace(ask_again_at=now + ASK_AGAIN_S))
            _confirm_meanwhile(here, offer_id)
    if old:
        await _learn(here, old)


def _holds_s(here: Orders) -> float:
    """How old its word may be before an order waits for a new one, if one is to be had."""
    stale_s = here.options.stale_s
    return stale_s if here.known.catalog_away else min(ASK_FIRST_S, stale_s)


def _confirm_meanwhile(here: Orders, offer_id: UUID) -> None:
    """Ask the catalog again, while orders go on by what it said last."""
    asking = asyncio.get_running_loop().create_task(
        _confirm(here, offer_id), name="confirm_offer", context=Context()
    )
    here.tasks.add(asking)
    asking.add_done_callback(here.tasks.discard)


async def _confirm(here: Orders, offer_id: UUID) -> None:
    try:
        await here.merged(confirm_offers, most=MOST_AT_ONCE)(offer_id)
    except BusyError as error:
        log.warning("An offer could not be confirmed, its last price holds on: %r", error)


async def _learn(here: Orders, ids: Sequence[UUID]) -> None:
    """From the table, where another worker may have put them; otherwise from the catalog."""
    read = here.merged(read_offers)  # everybody comes at once for an offer that is new here
    await asyncio.gather(*map(read, ids))
    now = monotonic()
    oldest = now - _holds_s(here)
    old = [offer_id for offer_id in ids if not here.known.is_newer_than(oldest, offer_id)]
    confirm = here.merged(confirm_offers, most=MOST_AT_ONCE)
    try:
        there = await asyncio.gather(*map(confirm, old))
    except CatalogAwayError:
        oldest = monotonic() - here.options.stale_s
        if not all(here.known.is_newer_than(oldest, offer_id) for offer_id in old):
            raise
    else:
        if not all(there):
            raise UnknownOfferError


async def read_offers(here: Orders, ids: list[UUID]) -> list[None]:
    """Note what the table says of when each was confirmed."""
    now = monotonic()
    for row in await queries.select_offers_known(here.db, list(set(ids))):
        if not here.known.is_newer_than(now - row.age_s, row.id):
            here.known.keep(row.id, Confirmed(now - row.age_s, now, row.has_room))
    return [None] * len(ids)


async def confirm_offers(here: Orders, ids: list[UUID]) -> list[bool]:
    """Take over what the catalog says of them now; answers which there are, or were."""
    asked_at = monotonic()
    if asked_at < here.known.ask_nothing_until:
        raise CatalogAwayError
    wanted = list(dict.fromkeys(ids))
    try:
        told = await here.catalog.select_offers(wanted)
    except CatalogAwayError:
        here.known.catalog_away = True
        here.known.ask_nothing_until = monotonic() + LEAVE_CATALOG_ALONE_S
        raise
    here.known.catalog_away = False
    await _keep(here, list(told.values()))
    gone = [offer_id for offer_id in wanted if offer_id not in told]
    there = {*told, *(await queries.update_offers_closed(here.db, gone) if gone else ())}
    for offer_id in there:
        has_room = offer_id in told and told[offer_id].admit_per_s is not None
        here.known.keep(offer_id, Confirmed(asked_at, asked_at + ASK_AGAIN_S, has_room))
    return [offer_id in there for offer_id in ids]


async def _keep(here: Orders, offers: Sequence[Offer]) -> None:
    ids = [offer.id for offer in offers]
    if not ids:
        return
    async with here.db.transaction() as db:
        await queries.upsert_offers(
            db,
            ids=ids,
            kinds=[offer.kind for offer in offers],
            product_ids=[offer.product_id for offer in offers],
            names=[offer.name for offer in offers],
            prices_krw=[offer.price_krw for offer in offers],
            opens_at=[offer.opens_at for offer in offers],
            closes_at=[offer.closes_at for offer in offers],
            per_customer=[offer.per_customer for offer in offers],
            admit_per_s=[offer.admit_per_s for offer in offers],
            quantities=[offer.quantity for offer in offers],
        )
        await serve_waiting(db, ids, here.options.hold_s)
