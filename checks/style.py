"""Rules of style that no linter has: each takes text and answers what breaks the rule, and where.

Words that must not occur are put together here, so that this file may itself be checked.
"""

import ast
import re
from collections.abc import Iterable, Iterator

LONGEST_FUNCTION = 70
NOT_HERE = {
    "the address of a package registry": [
        *("pypi." + "org", "files.python" + "hosted.org"),
        *("registry." + "npmjs.org", "registry." + "yarnpkg.com", "npm" + "mirror.com"),
        *("crates." + "io", "deb." + "debian.org", "security." + "debian.org"),
        *("index-" + "url", "index_" + "url"),
    ],
    "a path of somebody's machine": [rf"(?<![\w.*}}-])/({'ro'}ot|{'ho'}me/\w+|{'Us'}ers/\w+)/"],
    "a note of unfinished work": [rf"\b{word}\b" for word in ("TO" + "DO", "FIX" + "ME", "X" * 3)],
}
TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|[()]|\bdelete\s+from\b"
    r"|\b(?:do|for|key)\s+update\b|\bupdate\b|\bwhere\b|;",
    re.IGNORECASE | re.DOTALL,
)


def long_functions(source: str) -> Iterator[str]:
    """Lines that only continue a string, such as SQL or a docstring, are not counted."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = _last_line(node) - node.lineno + 1 - len(_inside_strings(node))
            if length > LONGEST_FUNCTION:
                yield f"{node.name} has {length} lines"


def _inside_strings(function: ast.AST) -> set[int]:
    return {
        line
        for node in ast.walk(function)
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
        for line in range(node.lineno + 1, _last_line(node) + 1)
    }


def _last_line(node: ast.stmt | ast.expr) -> int:
    return node.end_lineno or node.lineno


def unwanted_words(text: str) -> Iterator[str]:
    for what, words in NOT_HERE.items():
        for word in words:
            if found := re.search(word, text):
                yield f"{found.group()!r} is {what}"


def unguarded_writes(sql: str) -> Iterator[str]:
    """DELETE and UPDATE without a WHERE of their own; one in a sub-query does not guard."""
    open_writes: list[tuple[str, int]] = []
    depth, query = 0, ""
    for token in TOKEN.finditer(sql + "\n;"):
        word = " ".join(token.group().lower().split())
        if word.startswith("-- name:"):
            query = word.split()[2]
        elif word in {"delete from", "update"}:
            open_writes.append((f"{query}: {word.upper()} without WHERE", depth))
        elif word == "where":
            open_writes = [(told, at) for told, at in open_writes if at != depth]
        elif word in {")", ";"}:
            yield from (told for told, at in open_writes if at == depth or word == ";")
            open_writes = [(told, at) for told, at in open_writes if at < depth and word == ")"]
        depth = 0 if word == ";" else depth + {"(": 1, ")": -1}.get(word, 0)


def misnumbered(names: Iterable[str]) -> Iterator[str]:
    """Migrations are 0001_name.sql, 0002_name.sql and so on."""
    for expected, name in enumerate(sorted(names), 1):
        if not re.fullmatch(rf"{expected:04}_[a-z0-9_]+\.sql", name):
            yield f"{name} should be {expected:04}_<name>.sql"
