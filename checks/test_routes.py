"""Contract, routes and tests of each app name the same operations.

The contract's `operationId` is the stem: the route's function bears it, and at least one test
begins with it. So a reader finds all three with one search.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from holdfast.core.manifest import App, apps
from holdfast.core.settings import Settings
from holdfast.core.web import Service

METHODS = {"get", "put", "post", "patch", "delete", "head", "options", "trace"}
NOT_USED = {
    "DATABASE_URL": "postgresql://127.0.0.1/none",
    "REDIS_URL": "redis://127.0.0.1/0",
    "HOLDFAST_SECRET": "only to build the routes, nothing is served",
}

Operations = dict[tuple[str, str], str]
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
    differences = compare(promised(app.contract), served(service))
    assert not differences, f"{app.contract.name} and {app.name}'s routes differ:\n{differences}"


@each_app
def test_every_operation_has_a_test_by_its_stem(app: App) -> None:
    untested = missing_tests(promised(app.contract).values(), test_names(app.folder))
    assert not untested, (
        f"Under {app.folder.name}/**/tests write a test for each, whose name begins so:\n"
        + _lines(f"test_{name}_..." for name in untested)
    )


def test_every_contract_has_its_app(repository: Path) -> None:
    known = {app.contract for app in apps()}
    orphans = [path.name for path in (repository / "contracts").glob("*.yaml") if path not in known]
    assert not orphans, f"No app answers for these contracts: {', '.join(orphans)}"


def test_a_difference_is_reported() -> None:
    told = compare(
        {("GET", "/a"): "show_a", ("GET", "/b"): "show_b"},
        {("GET", "/a"): "get_a", ("POST", "/c"): "make_c"},
    )
    assert "GET /a: the contract has show_a, the app has get_a" in told
    assert "GET /b: the contract has show_b, the app has nothing" in told
    assert "POST /c: the contract has nothing, the app has make_c" in told


def test_an_untested_operation_is_reported() -> None:
    tests = {"test_login_twice", "test_logout"}
    operations = ["login", "logout", "logout_all", "log"]
    assert missing_tests(operations, tests) == ["log", "logout_all"]


def promised(contract: Path) -> Operations:
    paths = yaml.safe_load(contract.read_text(encoding="utf-8")).get("paths", {})
    return {
        (method.upper(), path): operation.get("operationId", "")
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in METHODS
    }


def served(service: Service) -> Operations:
    """What the app says of itself; routes outside the schema are its pages."""
    routes = [route for router in service.routers for route in router.routes]
    ordinary = {
        (method, route.path): route.endpoint.__name__
        for route in routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods
    }
    return ordinary | {key: _name(handler) for key, handler in service.hot.items()}


def compare(contract: Operations, app: Operations) -> str:
    return _lines(
        f"{method} {path}: the contract has {contract.get((method, path), 'nothing')},"
        f" the app has {app.get((method, path), 'nothing')}"
        for method, path in sorted(contract.keys() | app.keys())
        if contract.get((method, path)) != app.get((method, path))
    )


def missing_tests(operations: Iterable[str], tests: set[str]) -> list[str]:
    """`test_login_twice` is a test of `login`, but `test_logout` is not a test of `log`."""
    wanted = sorted(operations)
    return [
        name
        for name in wanted
        if not any(test == f"test_{name}" or test.startswith(f"test_{name}_") for test in tests)
    ]


def test_names(folder: Path) -> set[str]:
    return {
        node.name
        for path in folder.rglob("tests/test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _lines(values: Iterable[str]) -> str:
    return "\n".join(f"  {value}" for value in values)
