"""The table made ready for use: for each route its upstream, its limits and its share of the room."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from uuid import UUID

from starlette.types import ASGIApp

from holdfast.core.limits import Limit, Spend, bucket_address
from holdfast.core.web import Frame
from holdfast.gateway.options import Options
from holdfast.gateway.table import Route, Table

REMEMBERED = 16_384
HEALTH = "/health"  # whoever decides whether we live must get in when nobody does
API = "/api/"
# What is apart ends its late requests itself, and knows more of them; this is in case it does not.
GRACE_S = 1.0


class Room:
    """How many of a kind a worker has under way, and how many it takes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def count(self) -> float:
        return self.taken


class Charges:
    """What a request spends, of the limits that some routes share. Whoever comes often is known."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        self.of_address = lru_cache(REMEMBERED)(self._of_address)
        self.of_user = lru_cache(REMEMBERED)(self._of_user)

    def _of_address(self, address: str) -> Sequence[Spend]:
        """Everything that is spent whoever it may be."""
        whose = {"ip": bucket_address(address), "all": "all"}
        return tuple(self._of(whose))

    def _of_user(self, number: int) -> Sequence[Spend]:
        return tuple(self._of({"user": str(UUID(int=number))}))

    def _of(self, whose: Mapping[str, str]) -> Iterator[Spend]:
        for limit in self._limits:
            if limit.scope in whose:
                yield Spend(limit, whose[limit.scope])


class Lane:
    """One route, ready."""

    def __init__(self, route: Route, upstream: ASGIApp, charges: Charges, room: Room) -> None:
        self.route = route
        self.upstream = upstream
        self.charges = charges
        self.room = room
        self.signed_in = route.access == "signed_in"
        self.for_pages = route.path.startswith(API)  # whose scripts have a cookie and no token
        self.always = route.path == HEALTH
        self.largest_body = route.largest_body
        self.streams = route.stream
        self.apart = not isinstance(upstream, Frame)
        self.timeout_s = route.timeout_s
        self.ended_after_s = route.timeout_s + (GRACE_S if self.apart else 0)


def lanes(table: Table, upstreams: Mapping[str, ASGIApp], options: Options) -> dict[str, Lane]:
    """By the routes' paths. Answers that go on have a room of their own: they take memory only."""
    rooms = {False: Room(options.most_in_flight), True: Room(options.most_streams)}
    charges = {
        names: Charges([table.limits[name] for name in names])
        for names in {route.limits for route in table.routes}
    }
    return {
        route.path: Lane(
            route, upstreams[route.upstream], charges[route.limits], rooms[route.stream]
        )
        for route in table.routes
    }
