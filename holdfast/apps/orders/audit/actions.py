"""The audit: every row is followed, and set against what the offers say of themselves.

It reads one snapshot, so that orders may go on meanwhile, and changes nothing. Whether the money is
there is the payments' concern.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from holdfast.apps.orders.audit import queries
from holdfast.apps.orders.offers.schemas import UnknownOfferError

MOST = 100  # rows of a kind that are told; who has more wants a backup, and no longer list


class Audit(NamedTuple):
    proofs: list[str]  # one line for each offer
    faults: list[str]


async def audit_offers(connection: Any, offer_id: UUID | None) -> Audit:
    """All offers and orders, or one offer and the orders that have it."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        counts = await queries.select_counts(connection, offer_id)
        misplaced = await queries.select_misplaced(connection, offer_id)
        strays = await queries.select_strays(connection, offer_id=offer_id, most=MOST)
        totals = await queries.select_wrong_totals(connection, offer_id=offer_id, most=MOST)
    if offer_id is not None and not counts:
        raise UnknownOfferError
    faults = [fault for offer in counts for fault in _miscounted(offer)]
    faults += [
        f"offer {row.offer_id}: order {row.order_id} has place {row.place}, and should have"
        f" place {row.expected}"
        for row in misplaced
    ]
    faults += [f"order {row.order_id}, line {row.line}: {_strayed(row)}" for row in strays]
    faults += [f"order {row.id}: {_wrong(row)}" for row in totals]
    return Audit([_proof(offer) for offer in counts], faults)


def _proof(offer: queries.Counts) -> str:
    return (
        f"{offer.id}  {offer.initial} = {offer.remaining} remaining + {offer.held} held"
        f" + {offer.sold} sold, {offer.places} places  {offer.name}"
    )


def _miscounted(offer: queries.Counts) -> Iterator[str]:
    parts = offer.remaining + offer.held + offer.sold
    for says, found, sentence in (
        (offer.initial, parts, "initial is {}, and remaining + held + sold make {}"),
        (offer.held, offer.held_found, "held is {}, and its reserved orders have {}"),
        (offer.sold, offer.sold_found, "sold is {}, and its paid orders have {}"),
        (offer.places, offer.places_found, "places is {}, and its orders have {}"),
    ):
        if says != found:
            yield f"offer {offer.id}: {sentence.format(says, found)}"


def _strayed(item: queries.Stray) -> str:
    if not item.has_order:
        return "there is no such order"
    if not item.has_offer:
        return f"there is no offer {item.offer_id}"
    return "it is another customer's than its order"


def _wrong(order: queries.WrongTotal) -> str:
    if order.found_krw is None:
        return "it has no items"
    return f"its total is {order.total_krw} won, and its items make {order.found_krw}"
