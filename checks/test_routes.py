"""Contract, routes and tests of each app name the same operations.

The contract's `operationId` is the stem: the route's function bears it, and at least one test
begins with it. So a reader finds all three with one search.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from checks.operations import differences, named_tests, promised, served, untested
from holdfast.core.manifest import App, apps
from holdfast.core.settings import Settings

NOT_USED = {
    "DATABASE_URL": "postgresql://127.0.0.1/none",
    "REDIS_URL": "redis://127.0.0.1/0",
    "HOLDFAST_SECRET": "only to build the routes, nothing is served",
}
each_app = pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)


@each_app
def test_every_operation_has_a_name_in_snake_case(app: App) -> None:
    wrong = [
        f"{method} {path}: {name or 'no operationId'}"
        for (method, path), name in promised(app.contract).items()
        if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", name)
    ]
    assert not wrong, f"{app.contract.name} needs operationIds like place_order:\n{_lines(wrong)}"


@each_app
def test_routes_are_those_of_the_contract(app: App) -> None:
    service = app.module("main").service(Settings.load(NOT_USED))
    wrong = differences(promised(app.contract), served(service))
    assert not wrong, f"{app.contract.name} and the routes of {app.name} differ:\n{_lines(wrong)}"


@each_app
def test_every_operation_has_a_test_by_its_stem(app: App) -> None:
    missing = untested(promised(app.contract).values(), named_tests(app.folder))
    assert not missing, (
        f"Under holdfast/apps/{app.name}/tests write a test for each, whose name begins so:\n"
        + _lines(f"test_{name}_..." for name in missing)
    )


def test_every_contract_has_its_app(repository: Path) -> None:
    known = {app.contract for app in apps()}
    orphans = [path.name for path in (repository / "contracts").glob("*.yaml") if path not in known]
    assert not orphans, f"No app answers for these contracts: {', '.join(orphans)}"


def test_a_difference_is_reported() -> None:
    contract = {("GET", "/a"): "show_a", ("GET", "/b"): "show_b", ("PUT", "/d"): "put_d"}
    app = {("GET", "/a"): "get_a", ("POST", "/c"): "make_c", ("PUT", "/d"): "put_d"}
    assert differences(contract, app) == [
        "GET /a: the contract has show_a, the app has get_a",
        "GET /b: the contract has show_b, the app has nothing",
        "POST /c: the contract has nothing, the app has make_c",
    ]


def test_an_untested_operation_is_reported() -> None:
    tests = {"test_login", "test_logout_all_of_them", "test_refreshing"}
    assert untested(["login", "logout", "logout_all", "refresh"], tests) == ["logout", "refresh"]


def _lines(values: Iterable[str]) -> str:
    return "\n".join(f"  {value}" for value in values)
