"""When a deal may be open."""

from datetime import datetime, timedelta

from holdfast.core.errors import InvalidError

LONGEST = timedelta(days=366)


def refuse_window(opens_at: datetime, closes_at: datetime, now: datetime) -> None:
    """Raises what is wrong with it; `now` is the database's, by which the deal will open."""
    if closes_at <= opens_at:
        raise InvalidError(("closes_at", "must be later than opens_at"))
    if closes_at <= now:
        raise InvalidError(("closes_at", "must be in the future, by the clock of GET /api/v1/time"))
    if closes_at - opens_at > LONGEST:
        raise InvalidError(("closes_at", f"must be within {LONGEST.days} days of opens_at"))
