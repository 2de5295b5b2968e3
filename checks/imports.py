"""The walls between folders, as contracts for import-linter, read from the folders themselves.

A new app or feature is held to them without being listed anywhere. What a wall is for is said
in docs/architecture.md; here is only where it stands.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

FLOORS = ("cli", "gateway", "apps", "shell", "core", "stubs")
IN_A_FEATURE = (
    ("routes", "socket", "jobs", "grpc"),
    ("actions",),
    ("queries", "cache", "client", "rules"),
    ("schemas",),
)
NO_LAYER = ("tests", "pages")
DRIVERS_AND_FRAMEWORKS = ("asyncpg", "redis", "fastapi", "starlette", "uvicorn")

Table = dict[str, str | bool | int | list[str]]


def broken_walls(root: Path) -> str:
    """What import-linter finds in the packages under a folder; empty when every wall stands."""
    with NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(configuration(root))
        file.flush()
        program = Path(sys.executable).with_name("lint-imports")
        done = subprocess.run(
            [program, "--config", file.name, "--no-cache", "--no-logo"],
            cwd=root,  # import-linter looks for the packages here first
            capture_output=True,
            text=True,
            check=False,
        )
    told = done.stdout + done.stderr
    return "" if done.returncode == 0 else told.rpartition("Broken contracts\n")[2]


def configuration(root: Path) -> str:
    roots = [name for name in ("lab", "holdfast") if _is_package(root / name)]
    lines = ["[tool.importlinter]"]
    lines += _toml({"root_packages": roots, "include_external_packages": True})
    for contract in _contracts(root / "holdfast", roots):
        lines += ["[[tool.importlinter.contracts]]", *_toml(contract)]
    return "\n".join(lines)


def _toml(table: Table) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]


def _contracts(package: Path, roots: list[str]) -> Iterator[Table]:
    yield {"name": "Nothing that runs imports the lab", "type": "layers", "layers": roots}
    yield {
        "name": "A floor imports only those below it: cli > gateway > apps > shell > core > stubs",
        "type": "layers",
        "containers": ["holdfast"],
        "layers": [f"({floor})" for floor in FLOORS],
        "exhaustive": True,
        "ignore_imports": ["holdfast.**.tests.** -> holdfast.cli.**"],  # to start real servers
        "unmatched_ignore_imports_alerting": "none",
    }
    apps = _packages(package / "apps")
    if len(apps) > 1:
        yield {
            "name": "Apps know nothing of each other; they meet over HTTP, gRPC or streams",
            "type": "independence",
            "modules": [_module(app) for app in apps],
        }
    houses = [*apps, *(gateway for gateway in [package / "gateway"] if _is_package(gateway))]
    for house in houses:
        yield from _within(house)


def _within(house: Path) -> Iterator[Table]:
    features = [folder for folder in _packages(house) if folder.name not in NO_LAYER]
    if not features:
        return
    yield {
        "name": f"A feature of {house.name} has only the files of the pattern, and they look down",
        "type": "layers",
        "containers": [_module(feature) for feature in features],
        "layers": [" : ".join(f"({name})" for name in layer) for layer in IN_A_FEATURE],
        "exhaustive": True,
        "exhaustive_ignores": list(NO_LAYER),
    }
    beside = [f"{_module(house)}.{path.stem}" for path in house.glob("*.py")]
    yield {
        "name": f"The features of {house.name} form no cycle",
        "type": "acyclic_siblings",
        "ancestors": [_module(house)],
        "depth": 0,
        "ignore_imports": [f"{module} -> **" for module in beside],
        "unmatched_ignore_imports_alerting": "none",
    }
    rules = [feature / name for feature in features for name in ("rules.py", "rules")]
    if pure := [_module(path.with_suffix("")) for path in rules if path.exists()]:
        yield {
            "name": f"Rules of {house.name} decide without I/O: they reach no driver or framework",
            "type": "forbidden",
            "source_modules": pure,
            "forbidden_modules": list(DRIVERS_AND_FRAMEWORKS),
        }


def _packages(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/__init__.py"))


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").exists()


def _module(path: Path) -> str:
    parts = path.parts
    last = len(parts) - 1 - parts[::-1].index("holdfast")
    return ".".join(parts[last:])
