"""The repository's own rules, file by file and app by app."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from checks.style import long_functions, misnumbered, unguarded_writes, unwanted_words
from holdfast.core.manifest import CORE_MIGRATIONS, App, apps

Rule = Callable[[str], Iterable[str]]

RULES: dict[str, tuple[Rule, str]] = {
    "Split these, so that each part has one reason": (long_functions, ".py"),
    "Take these out": (unwanted_words, ""),
    "Say which rows, or except it with a reason": (unguarded_writes, "queries.sql"),
}

# What breaks a rule for a good reason: exactly as it is reported, and why.
EXCEPTIONS: dict[str, str] = {
    "holdfast/core/epochs/queries.sql: update_epoch_head: UPDATE without WHERE": (
        "The table has one row, by its own constraint."
    ),
}


@pytest.fixture(scope="session")
def texts(repository: Path) -> dict[str, str]:
    """Every text that is in the repository, or would be with the next commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=repository,
        capture_output=True,
        check=True,
    ).stdout.decode()
    contents = {name: _text(repository / name) for name in listed.split("\0") if name}
    return {name: text for name, text in contents.items() if text is not None}


@pytest.mark.parametrize("advice", RULES)
def test_no_file_breaks_a_rule(texts: dict[str, str], advice: str) -> None:
    found = _findings(texts, *RULES[advice]) - EXCEPTIONS.keys()
    assert not found, f"{advice}:\n{_lines(found)}"


def test_no_exception_is_stale(texts: dict[str, str]) -> None:
    found = set().union(*(_findings(texts, *rule) for rule in RULES.values()))
    stale = EXCEPTIONS.keys() - found
    assert not stale, f"These are excepted in {__name__}, and need it no more:\n{_lines(stale)}"


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)
def test_every_app_has_the_same_shape(app: App) -> None:
    wanted = [app.folder / name for name in ("app.toml", "main.py", "migrations", "tests")]
    missing = [str(path) for path in [*wanted, app.contract] if not path.exists()]
    assert not missing, f"{app.name} lacks:\n{_lines(missing)}"


@pytest.mark.parametrize(
    "folder", [CORE_MIGRATIONS, *(app.folder / "migrations" for app in apps())], ids=str
)
def test_migrations_are_numbered_without_gaps(folder: Path) -> None:
    wrong = list(misnumbered(path.name for path in folder.iterdir()))
    assert not wrong, f"{folder}:\n{_lines(wrong)}"


def _findings(texts: dict[str, str], rule: Rule, ending: str) -> set[str]:
    return {
        f"{name}: {told}"
        for name, text in texts.items()
        if name.endswith(ending)
        for told in rule(text)
    }


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError):
        return None  # a picture, or deleted and not yet committed


def _lines(values: Iterable[str]) -> str:
    return "\n".join(f"  {value}" for value in sorted(values))
