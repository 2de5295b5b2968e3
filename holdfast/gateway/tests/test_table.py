"""The table: read strictly, and true to what the apps promise and serve."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fastapi.routing import APIRoute

from checks.operations import promised
from holdfast.core import manifest
from holdfast.core.settings import Settings, SettingsError
from holdfast.core.web import Service
from holdfast.gateway.main import front_door, service
from holdfast.gateway.options import Options
from holdfast.gateway.table import FILE, Table, TableError, read

TABLE = read("development")
INTERNAL = "/internal/"
SETTINGS = Settings.load(
    {
        "DATABASE_URL": "postgresql://127.0.0.1/none",
        "REDIS_URL": "redis://127.0.0.1/0",
        "HOLDFAST_SECRET": "only to build the routes, nothing is served",
    }
)
APPS = manifest.apps()
REST = """
[limits.development]
address = "10/s ip"
[breaker]
window_s = 10
least_calls = 20
open_at = 0.5
open_for_s = 30
probes = 3
[retries]
methods = ["GET"]
most = 1
budget = 0.2
[defaults]
access = "public"
timeout_s = 10
largest_body = 65536
limits = ["address"]
[routes]
"""


def of(path: str, table: Table = TABLE) -> str | None:
    route = table.find(path)
    return route.upstream if route else None


def written(folder: Path, routes: str) -> Path:
    file = folder / "table.toml"
    file.write_text(REST + routes, encoding="utf-8")
    return file


def some(template: str) -> str:
    return re.sub(r"\{[^}]+\}", "anything", template)


def addresses(served: Service) -> Iterator[str]:
    yield from (path for _, path in served.hot)
    for router in served.routers:
        yield from (route.path for route in router.routes if isinstance(route, APIRoute))


# -- What it leads to


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_every_operation_that_an_app_promises_is_led_to_it(app: manifest.App) -> None:
    public = [path for _, path in promised(app.contract) if not path.startswith(INTERNAL)]
    assert public
    assert {path: of(some(path)) for path in public} == dict.fromkeys(public, app.name)


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_every_address_that_an_app_serves_is_led_to_it_and_none_that_is_internal(
    app: manifest.App,
) -> None:
    paths = {
        path
        for path in addresses(app.module("main").service(SETTINGS))
        if not path.startswith("/static/shell/")  # everybody has it, and the house serves it
    }
    wanted = {path: None if path.startswith(INTERNAL) else app.name for path in paths}
    assert {path: of(some(path)) for path in paths} == wanted


def test_every_page_of_the_house_is_led_to_it() -> None:
    paths = {*addresses(service(SETTINGS)), "/health", "/health/live", "/health/ready"}
    assert {path: of(some(path)) for path in paths} == dict.fromkeys(paths, "gateway")


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_an_answer_that_goes_on_is_told_so_and_no_other(app: manifest.App) -> None:
    contract = yaml.safe_load(app.contract.read_text(encoding="utf-8"))
    goes_on = {
        path: "text/event-stream" in operations.get("get", {}).get("responses", {}).get(
            "200", {}
        ).get("content", {})
        for path, operations in contract["paths"].items()
        if not path.startswith(INTERNAL)
    }  # fmt: skip
    told = {path: route.stream for path in goes_on if (route := TABLE.find(some(path)))}
    assert told == goes_on


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_what_the_door_asks_a_token_for_needs_one_in_the_contract_too(app: manifest.App) -> None:
    contract = yaml.safe_load(app.contract.read_text(encoding="utf-8"))
    for path, operations in contract["paths"].items():
        route = TABLE.find(some(path))
        if route and route.access == "signed_in":
            told = [one["responses"] for one in operations.values() if "responses" in one]
            assert all("401" in responses for responses in told), path


def test_the_longest_path_wins_and_a_path_is_whole_segments(tmp_path: Path) -> None:
    table = read(
        "development",
        written(
            tmp_path,
            """
            "/a" = { upstream = "a" }
            "/a/{one}/b" = { upstream = "param" }
            "/a/x/b" = { upstream = "literal" }
            "/a/{one}" = { upstream = "exact", exact = true }
            """,
        ),
    )
    led = {
        "/a": "a", "/a/": "a", "/ab": None, "/": None, "": None,
        "/a/x": "exact", "/a/x/": "a", "/a/x/c": "a", "/a//b": "a",
        "/a/y/b": "param", "/a/y/b/c": "param", "/a/x/b": "literal", "/a/x/b/c": "literal",
    }  # fmt: skip
    assert {path: of(path, table) for path in led} == led


# -- What it must not say


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ('"/a" = { upstream = "a", acess = "public" }', "acess"),
        ('"/a" = { upstream = "a", access = "anybody" }', "access"),
        ('"/a" = { upstream = "a", timeout_s = 0 }', "timeout_s"),
        ('"a" = { upstream = "a" }', "path"),
        ('"/a" = { upstream = "a", limits = ["none"] }', "there is no limit none"),
        (
            '"/a/{b}" = { upstream = "a" }\n"/a/{c}" = { upstream = "b" }',
            "another route is for the same paths",
        ),
        ('"/a" = ', "table.toml"),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_what_is_wrong(
    tmp_path: Path, routes: str, said: str
) -> None:
    with pytest.raises(TableError, match=re.escape(said)):
        read("development", written(tmp_path, routes))


def test_a_table_that_is_not_there_or_lacks_a_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="nowhere"):
        read("development", tmp_path / "nowhere.toml")
    with pytest.raises(TableError, match="there is no part 'production'"):
        read("production", written(tmp_path, ""))


@pytest.mark.parametrize(
    ("routes", "upstreams", "said"),
    [
        ('"/a" = { upstream = "unknown" }', {}, "leads to unknown: no app of that name"),
        ('"/a" = { upstream = "orders" }', {"ordres": "http://x"}, "names ordres"),
        ('"/a" = { upstream = "orders", largest_body = 65537 }', {}, "at most 65,536 bytes"),
    ],
)
def test_a_front_door_that_leads_nowhere_does_not_start(
    tmp_path: Path, routes: str, upstreams: dict[str, str], said: str
) -> None:
    options = Options(table=written(tmp_path, routes), upstreams=upstreams)
    with pytest.raises(SettingsError, match=re.escape(said)):
        front_door(SETTINGS, options)


def test_the_table_of_the_house_is_good_for_every_profile() -> None:
    for profile in ("development", "staging", "production"):
        assert read(profile, FILE).routes
