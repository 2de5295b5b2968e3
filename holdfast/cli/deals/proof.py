"""Whether a sale was just: what its buyers were answered, held against what the service says of it.

It takes nobody's word: each 201 must be in the public list of winners under the place that its
buyer was told, nobody else may be there, and the ledger must come out. It asks nothing itself.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

WON = HTTPStatus.CREATED
LOST = HTTPStatus.CONFLICT


class Answer(NamedTuple):
    """What one buyer was told in the end, and how long after the opening."""

    status: int
    order_id: str | None
    place: int | None
    took_s: float


class Winner(NamedTuple):
    order_id: str
    place: int


class Ledger(NamedTuple):
    initial: int
    remaining: int
    held: int
    sold: int


@dataclass(frozen=True)
class Sale:
    stock: int
    answers: Sequence[Answer]  # one for each buyer
    winners: Sequence[Winner]  # as they are listed
    ledger: Ledger

    @property
    def due(self) -> int:
        """How many must have won: one each, as long as there were any."""
        return min(self.stock, len(self.answers))


def proof(sale: Sale) -> str:
    """In a sentence, for a sale without faults."""
    took_s = sorted(answer.took_s for answer in sale.answers)
    ledger = sale.ledger
    return (
        f"{sale.due} of {len(took_s)} buyers won, places 1-{sale.due},"
        f" ledger {ledger.initial} = {ledger.remaining} + {ledger.held} + {ledger.sold},"
        f" {len(took_s) / took_s[-1]:,.0f} orders/s,"
        f" p50 {_quantile(took_s, 0.5) * 1000:.1f} ms, p99 {_quantile(took_s, 0.99) * 1000:.1f} ms"
    )


def faults(sale: Sale) -> list[str]:
    """What is not as it must be; nothing, for a just sale."""
    return [*_of_answers(sale), *_of_places(sale), *_of_ledger(sale)]


def _of_answers(sale: Sale) -> Iterator[str]:
    counted = Counter(answer.status for answer in sale.answers)
    if counted[WON] != sale.due:
        yield f"{counted[WON]} buyers won, and it should be {sale.due}"
    for status, buyers in sorted(counted.items()):
        if status not in {WON, LOST}:
            yield f"{buyers} buyers were answered {status}"


def _of_places(sale: Sale) -> Iterator[str]:
    told = {
        Winner(answer.order_id or "", answer.place or 0)
        for answer in sale.answers
        if answer.status == WON
    }
    if sorted(winner.place for winner in told) != list(range(1, sale.due + 1)):
        yield f"the places that buyers were told are not 1-{sale.due}, each once"
    if [winner.place for winner in sale.winners] != list(range(1, sale.due + 1)):
        yield f"the places in the list of winners are not 1-{sale.due}, in order"
    if unlisted := len(told - set(sale.winners)):
        yield f"{unlisted} of those who won are not in the list of winners with their place"
    if unknown := len(set(sale.winners) - told):
        yield f"{unknown} in the list of winners were never told so"


def _of_ledger(sale: Sale) -> Iterator[str]:
    initial, remaining, held, sold = sale.ledger
    shown = f"{initial} = {remaining} + {held} + {sold}"
    if initial != remaining + held + sold:
        yield f"the ledger does not come out: {shown}"
    if (initial, remaining) != (sale.stock, sale.stock - sale.due):
        yield f"the ledger is of another sale: {shown}, with {sale.due} of {sale.stock} gone"


def _quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
