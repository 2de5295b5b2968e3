"""The events of an app as its code emits them, to be compared with those that it promises."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

TYPE = re.compile(r"[a-z_]+\.[a-z_]+")
BEGINNING = re.compile(r"[a-z_]+\.")  # of a type that is put together: 'order.' || status
COMMENT = re.compile(r"--.*")
TEXT = re.compile(r"'([^']*)'")


def emitted(app: Path) -> set[str]:
    """Whatever looks like a type where events are written; `order.*` where it is put together."""
    texts = {text for path in app.rglob("*.sql") for text in _in_sql(path.read_text("utf-8"))}
    for path in app.rglob("*.py"):
        if "tests" not in path.parts:
            texts.update(_in_python(path.read_text("utf-8")))
    return {text for text in texts if TYPE.fullmatch(text)} | {
        f"{text}*" for text in texts if BEGINNING.fullmatch(text)
    }


def differences(promised: set[str], emitted: set[str]) -> list[str]:
    never = {one for one in promised if not any(fnmatch(one, written) for written in emitted)}
    unknown = {one for one in emitted if not any(fnmatch(known, one) for known in promised)}
    return sorted(
        [f"{one} is promised and never emitted" for one in never]
        + [f"{one} is emitted and not promised" for one in unknown]
    )


def _in_sql(text: str) -> Iterator[str]:
    for statement in COMMENT.sub("", text).split(";"):
        if "INSERT INTO outbox" in statement:
            yield from TEXT.findall(statement)


def _in_python(text: str) -> Iterator[str]:
    """All texts of a module that calls `emit`: the type may reach it through a function."""
    nodes = list(ast.walk(ast.parse(text)))
    calls = (node.func for node in nodes if isinstance(node, ast.Call))
    if any(getattr(call, "id", getattr(call, "attr", "")) == "emit" for call in calls):
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
