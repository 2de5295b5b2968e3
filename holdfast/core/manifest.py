"""Manifests: which apps there are, told by their own `app.toml`.

An app is a folder under `holdfast/apps` with an `app.toml`; there is no central list to edit.
This module reads those files and nothing else: it never imports an app by itself.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parents[1]
CORE_MIGRATIONS = PACKAGE / "core" / "migrations"


@dataclass(frozen=True)
class Page:
    """A page that people may want to open first."""

    path: str
    title: Mapping[str, str]  # by language
    profile: str | None = None  # only there


@dataclass(frozen=True)
class Companion:
    """A program that stands in for somebody else's service where there is none: never in production."""

    name: str
    title: str
    command: Sequence[str]  # of `holdfast`; it takes --port and answers /health/live
    address: str  # the environment variable that says where the service is


@dataclass(frozen=True)
class App:
    name: str
    title: str
    summary: str
    port: int
    folder: Path
    pages: Sequence[Page] = ()
    companions: Sequence[Companion] = ()
    permissions: Mapping[str, str] = field(default_factory=dict)  # that it asks for, and what for

    @property
    def schema(self) -> str:
        return self.name

    @property
    def role(self) -> str:
        """The database role of the app's own connections: it sees the app's schema only."""
        return f"holdfast_{self.name}"

    @property
    def contract(self) -> Path:
        return PACKAGE.parent / "contracts" / f"{self.name}.v1.yaml"

    @property
    def events(self) -> Path:
        """What it promises to tell other services; there is none if it tells them nothing."""
        return PACKAGE.parent / "contracts" / "events" / f"{self.name}.v1.yaml"

    def pages_in(self, profile: str) -> list[Page]:
        return [page for page in self.pages if page.profile in {None, profile}]

    def module(self, name: str) -> ModuleType:
        return import_module(f"holdfast.apps.{self.name}.{name}")

    def migrations(self) -> Iterator[Path]:
        """Those that every app's schema gets, then the app's own, each in order."""
        yield from sorted(CORE_MIGRATIONS.glob("*.sql"))
        yield from sorted((self.folder / "migrations").glob("*.sql"))


class NoSuchAppError(Exception):
    pass


def apps() -> list[App]:
    return [_read(path) for path in sorted((PACKAGE / "apps").glob("*/app.toml"))]


def having(part: str) -> list[App]:
    """The apps that have this module beside their manifest."""
    return [app for app in apps() if (app.folder / f"{part}.py").exists()]


def find(name: str) -> App:
    known = {app.name: app for app in apps()}
    if name not in known:
        raise NoSuchAppError(f"There is no app {name!r}. There are: {', '.join(known)}")
    return known[name]


def _read(path: Path) -> App:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    pages = [Page(**page) for page in told.pop("pages", ())]
    companions = [Companion(**companion) for companion in told.pop("companions", ())]
    return App(
        name=path.parent.name, folder=path.parent, pages=pages, companions=companions, **told
    )
