"""The operations of an app: those its contract promises, those it serves, and those it tests."""

import ast
from collections.abc import Iterable
from pathlib import Path

import yaml
from fastapi.routing import APIRoute

from holdfast.core.web import Service

METHODS = {"get", "put", "post", "patch", "delete", "head", "options", "trace"}

Operations = dict[tuple[str, str], str]


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
        (method, route.path_format): route.endpoint.__name__
        for route in routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    return ordinary | {
        key: getattr(handler, "__name__", "") for key, handler in service.hot.items()
    }


def differences(contract: Operations, app: Operations) -> list[str]:
    return [
        f"{' '.join(key)}: the contract has {contract.get(key, 'nothing')},"
        f" the app has {app.get(key, 'nothing')}"
        for key in sorted(contract.keys() | app.keys())
        if contract.get(key) != app.get(key)
    ]


def named_tests(folder: Path) -> set[str]:
    return {
        node.name
        for path in folder.rglob("tests/**/test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def untested(operations: Iterable[str], tests: Iterable[str]) -> list[str]:
    """A test belongs to the longest name that it begins with: test_logout_all is not logout's."""
    names = sorted(operations, key=len, reverse=True)
    tested = {
        next((name for name in names if f"{test}_".startswith(f"test_{name}_")), None)
        for test in tests
    }
    return sorted(set(names) - tested)
