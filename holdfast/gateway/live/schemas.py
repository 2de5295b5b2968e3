"""What the live view tells of all workers together."""

import msgspec

from holdfast.gateway.home.schemas import Buckets


class BreakerFigures(msgspec.Struct):
    """One upstream's breaker; each worker has one of its own."""

    upstream: str
    workers: dict[str, int]  # how many have it in which state


class Figures(msgspec.Struct):
    """Counted since the workers started. Rates are differences of two readings."""

    read_at: float  # seconds since 1970, for the next reading may be another process's
    answering: list[str]
    silent: list[str]
    orders: dict[str, int]  # by what became of them
    queued: int
    refused: dict[str, int]  # at the door, by reason
    breakers: list[BreakerFigures]
    place_order: Buckets
