"""Deals are made, changed and withdrawn, by the database's clock; every worker shows it at once."""

from datetime import datetime
from uuid import UUID

from holdfast.apps.catalog.deals import queries
from holdfast.apps.catalog.deals.queries import Deal, Terms
from holdfast.apps.catalog.deals.rules import refuse_window
from holdfast.apps.catalog.deals.schemas import DealChangeIn, DealIn, DealOverError
from holdfast.apps.catalog.resources import Catalog
from holdfast.core import epochs
from holdfast.core.errors import NotFoundError
from holdfast.core.outbox import emit


async def create_deal(here: Catalog, wanted: DealIn) -> Deal:
    async with epochs.change(here.lease) as change:
        now = await queries.lock_product(change.db, wanted.product_id)
        if now is None:
            raise NotFoundError("There is no product with this id.")
        refuse_window(wanted.opens_at, wanted.closes_at, now)
        deal = await queries.insert_deal(
            change.db,
            product_id=wanted.product_id,
            price_krw=wanted.price_krw,
            opens_at=wanted.opens_at,
            closes_at=wanted.closes_at,
            quota=wanted.quota,
            per_customer=wanted.per_customer,
            admit_per_s=wanted.admit_per_s,
        )
        await _announce(change, "deal.created", deal)
    return deal


async def change_deal(here: Catalog, deal_id: UUID, wanted: DealChangeIn) -> Deal:
    async with epochs.change(here.lease) as change:
        deal, now = await _lock(change, deal_id)
        terms = deal._replace(**wanted.sent())
        refuse_window(terms.opens_at, terms.closes_at, now)
        changed = await queries.update_deal(
            change.db,
            id=deal_id,
            price_krw=terms.price_krw,
            opens_at=terms.opens_at,
            closes_at=terms.closes_at,
            quota=terms.quota,
            per_customer=terms.per_customer,
            admit_per_s=terms.admit_per_s,
        )
        await _announce(change, "deal.changed", deal)
    return changed


async def withdraw_deal(here: Catalog, deal_id: UUID) -> None:
    async with epochs.change(here.lease) as change:
        deal, _ = await _lock(change, deal_id)
        await queries.update_deal_withdrawn(change.db, deal_id)
        await _announce(change, "deal.withdrawn", deal)


async def _lock(change: epochs.Change, deal_id: UUID) -> tuple[Terms, datetime]:
    """A deal that is open or to come, as it is when everybody who came before is done; and what
    time it is.
    """
    now = await queries.lock_product_of(change.db, deal_id)
    deal = await queries.lock_deal(change.db, deal_id)
    if now is None or deal is None:
        raise NotFoundError("There is no deal with this id.")
    if deal.withdrawn_at is not None or deal.closes_at <= now:
        raise DealOverError
    return deal, now


async def _announce(change: epochs.Change, event: str, deal: Deal | Terms) -> None:
    change.touches("deals")
    await emit(change.db, event, {"deal_id": deal.id, "product_id": deal.product_id})
