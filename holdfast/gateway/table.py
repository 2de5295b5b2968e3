"""The table of routes: read from `routes.toml`, checked when it is read, and looked up for a path.

The front door lives by it, and Envoy's and Kong's configurations are rendered from it; so it says
what is wanted, and nothing of how.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from holdfast.core.limits import Limit
from holdfast.core.settings import Profile, SettingsError

FILE = Path(__file__).with_name("routes.toml")
SEGMENT = re.compile(r"\{[a-z_]+\}")

Access = Literal["public", "signed_in"]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class TableError(SettingsError):
    """The table says what cannot be."""


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Annotated[str, msgspec.Meta(pattern=r"^/")]
    upstream: str
    access: Access
    timeout_s: Seconds
    largest_body: Annotated[int, msgspec.Meta(ge=0)]
    limits: tuple[str, ...]
    exact: bool = False
    stream: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression for whole paths."""
        literal = SEGMENT.split(self.path.rstrip("/") if not self.exact else self.path)
        body = "[^/]+".join(map(re.escape, literal))
        return body if self.exact else f"{body}(?:/.*)?"

    @property
    def rank(self) -> tuple[int, int, bool]:
        """Of two routes that fit, the one that ranks higher says more of the path."""
        segments = self.path.strip("/").split("/")
        return len(segments), -len(SEGMENT.findall(self.path)), self.exact


class Breaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    window_s: Seconds
    least_calls: Count
    open_at: Share
    open_for_s: Seconds
    probes: Count


class Retries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    methods: frozenset[str]
    most: Count
    budget: Share


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    routes: Sequence[Route]  # the one to try first comes first
    limits: Mapping[str, Limit]
    breaker: Breaker
    retries: Retries

    @cached_property
    def _literal(self) -> dict[str, Route]:
        """Routes by their own paths, where these have no parameter."""
        plain = [route for route in reversed(self.routes) if not SEGMENT.search(route.path)]
        return {route.path: route for route in plain}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(f"({route.pattern})" for route in self.routes))

    def find(self, path: str) -> Route | None:
        """The route that this path belongs to; None when nothing of ours is there."""
        if route := self._literal.get(path):
            return route
        found = self._pattern.fullmatch(path)
        return self.routes[found.lastindex - 1] if found and found.lastindex else None


def read(profile: Profile, file: Path = FILE) -> Table:
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
        usual = told.pop("defaults")
        routes = [
            msgspec.convert({"path": path} | usual | terms, Route)
            for path, terms in told.pop("routes").items()
        ]
        limits = {
            name: Limit.parse(name, text) for name, text in told.pop("limits")[profile].items()
        }
        rest = msgspec.convert(told, _Rest)
    except KeyError as missing:
        raise TableError(f"{file.name}: there is no part {missing}") from missing
    except (msgspec.ValidationError, OSError, ValueError) as error:
        raise TableError(f"{file.name}: {error}") from error
    _refuse_what_cannot_be(routes, limits)
    routes.sort(key=lambda route: route.rank, reverse=True)
    return Table(routes=routes, limits=limits, breaker=rest.breaker, retries=rest.retries)


class _Rest(msgspec.Struct, forbid_unknown_fields=True):
    breaker: Breaker
    retries: Retries


def _refuse_what_cannot_be(routes: Sequence[Route], limits: Mapping[str, Limit]) -> None:
    for route in routes:
        if unknown := [name for name in route.limits if name not in limits]:
            raise TableError(f"{route.path}: there is no limit {', '.join(unknown)}")
        if [each.pattern for each in routes].count(route.pattern) > 1:
            raise TableError(f"{route.path}: another route is for the same paths")
