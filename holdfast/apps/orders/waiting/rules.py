"""Who may stand in line: those who could buy, if only there were any left."""

from holdfast.apps.orders.offers.schemas import OverError
from holdfast.apps.orders.placing.schemas import LimitReachedError, TooEarlyError
from holdfast.apps.orders.waiting.schemas import MOST_IN_LINE, LineFullError, NotSoldOutError
from holdfast.core.errors import ProblemError


def objection(
    *, state: str, remaining: int, per_customer: int | None, units: int, in_line: int
) -> ProblemError | None:
    """Against somebody new, who has so many units of the offer already."""
    if state == "early":
        return TooEarlyError()
    if state == "over":
        return OverError()
    if per_customer is not None and units >= per_customer:
        return LimitReachedError()
    if remaining:
        return NotSoldOutError()
    return LineFullError() if in_line >= MOST_IN_LINE else None
