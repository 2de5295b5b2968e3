"""One query as it will be in Python: names, types and prose, or a refusal that says what to write.

What sqlc does not know is decided here: which Python type a value has, whether a computed column
may be NULL after all, and whether the author's names and comments keep the rules.
"""

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass

from checks.sqlc.request import Column, Query

# By full names, so that whoever renders them knows what to import.
PYTHON_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("bool", "boolean"), "bool"),
    **dict.fromkeys(("int2", "int4", "int8", "smallint", "integer", "bigint"), "int"),
    **dict.fromkeys(("float4", "float8", "real", "double precision"), "float"),
    **dict.fromkeys(("text", "varchar", "character varying", "bpchar", "citext", "name"), "str"),
    **dict.fromkeys(("json", "jsonb"), "str"),
    "numeric": "decimal.Decimal",
    "bytea": "bytes",
    "uuid": "uuid.UUID",
    **dict.fromkeys(("timestamptz", "timestamp with time zone"), "datetime.datetime"),
    "date": "datetime.date",
    "interval": "datetime.timedelta",
    "inet": "ipaddress.IPv4Address | ipaddress.IPv6Address",
}

COMMANDS = (":one", ":many", ":exec", ":execrows")
DONE_BY_VERB = {
    "select": r"\bselect\b",
    "insert": r"\binsert\s+into\b",
    "update": r"\bupdate\b",
    "delete": r"\bdelete\s+from\b",
    "lock": r"\bfor\s+(no\s+key\s+)?update\b|\bfor\s+(key\s+)?share\b|_lock(_shared)?\s*\(|^lock\b",
    "upsert": r"\bon\s+conflict\b.*\bdo\s+update\b",
}
DIRECTIVE = re.compile(
    r"(row|nullable|nullable items|not null): *(\w+(?:, *\w+)*)|(exactly one row)"
)

# The analyser believes that these are never NULL.
NULL_OVER_NOTHING = re.compile(
    r"\(\s*select\b|\b(?:(?:sum|min|max|avg|nullif|lag|lead|\w+_value|\w+_agg)\s*\()", re.IGNORECASE
)
NEVER_NULL = re.compile(r"(not\s+)?(coalesce|count|exists|array)\s*\(", re.IGNORECASE)
LIST_BEGINS = re.compile(r"(select(\s+distinct)?|returning)\b", re.IGNORECASE)


class RefusedError(Exception):
    """A query that no good function can be made of."""

    def __init__(self, query: str, why: str) -> None:
        super().__init__(f"{query}: {why}")


@dataclass(frozen=True)
class Value:
    """A parameter or a column."""

    name: str
    type: str


@dataclass(frozen=True)
class Statement:
    name: str
    command: str
    exactly_one: bool
    sql: str
    prose: str
    row: str | None  # the type of its rows; None where a single value or nothing is answered
    parameters: tuple[Value, ...]
    columns: tuple[Value, ...]


def understand(query: Query, enums: frozenset[str]) -> Statement:
    directives, prose = _comments(query)
    types = {**PYTHON_TYPES, **dict.fromkeys(enums, "str")}
    _check_name(query)
    _check_answer(query, directives)
    answers = query.columns if query.cmd in {":one", ":many"} else []
    given = sorted(query.params, key=lambda parameter: parameter.number)
    return Statement(
        name=query.name,
        command=query.cmd,
        exactly_one="exactly one row" in directives,
        sql=query.text.strip(),
        prose=prose,
        row=_row(query, directives) if len(answers) > 1 else None,
        parameters=tuple(_parameter(query, one.column, directives, types) for one in given),
        columns=tuple(_column(query, one, directives, types) for one in answers),
    )


def _comments(query: Query) -> tuple[dict[str, str], str]:
    directives: dict[str, str] = {}
    prose = []
    for line in map(str.strip, query.comments):
        if directive := DIRECTIVE.fullmatch(line):
            key, value, flag = directive.groups()
            directives[key or flag] = value or ""
        else:
            prose.append(line)
    return directives, "\n".join(prose).strip()


def _check_name(query: Query) -> None:
    verb = query.name.partition("_")[0]
    if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", query.name) or verb not in DONE_BY_VERB:
        verbs = ", ".join(f"{verb}_..." for verb in DONE_BY_VERB)
        raise RefusedError(query.name, f"a name says what the query does, in snake case: {verbs}")
    if not re.search(DONE_BY_VERB[verb], query.text, re.IGNORECASE | re.DOTALL):
        raise RefusedError(query.name, f"its name begins with {verb}_, but it does no such thing")


def _check_answer(query: Query, directives: Mapping[str, str]) -> None:
    if query.cmd not in COMMANDS:
        raise RefusedError(query.name, f"{query.cmd} is none of {', '.join(COMMANDS)}")
    if query.cmd in {":one", ":many"} and not query.columns:
        raise RefusedError(query.name, "it answers no columns: use :exec or :execrows")
    if "exactly one row" in directives and query.cmd != ":one":
        raise RefusedError(query.name, "`exactly one row` is for :one")
    if "row" in directives and (len(query.columns) < 2 or query.cmd in {":exec", ":execrows"}):
        raise RefusedError(query.name, "it answers no row that could have a name: drop `row:`")
    columns = {column.name for column in query.columns}
    arrays = {one.column.name for one in query.params if one.column.array_dims}
    for key, known in (("nullable", columns), ("not null", columns), ("nullable items", arrays)):
        if unknown := set(_listed(directives, key)) - known:
            raise RefusedError(query.name, f"`{key}:` has nothing called {', '.join(unknown)}")


def _row(query: Query, directives: Mapping[str, str]) -> str:
    names = [column.name for column in query.columns]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise RefusedError(query.name, f"two columns are called {', '.join(repeated)}: use AS")
    for name in names:
        if name in {"count", "index"}:
            raise RefusedError(query.name, f"{name} is a method of every tuple: use AS")
    return directives.get("row") or "".join(map(str.capitalize, query.name.split("_"))) + "Row"


def _parameter(
    query: Query, column: Column, directives: Mapping[str, str], types: Mapping[str, str]
) -> Value:
    if not column.is_named_param:
        raise RefusedError(query.name, "its parameters need names: write @name instead of $1")
    if "pg_catalog" in column.name:  # sqlc spoils the name of a parameter that is cast twice
        raise RefusedError(query.name, "a parameter cast twice needs brackets: (@a::x)::y")
    _check_word(query, column.name)
    item = _python_type(query, column, types)
    if column.name in _listed(directives, "nullable items"):
        item += " | None"
    known = _nested("collections.abc.Sequence", item, column.array_dims)
    return Value(column.name, known if column.not_null else f"{known} | None")


def _column(
    query: Query, column: Column, directives: Mapping[str, str], types: Mapping[str, str]
) -> Value:
    _check_word(query, column.name)
    known = _nested("list", _python_type(query, column, types), column.array_dims)
    if column.name in _listed(directives, "not null"):
        return Value(column.name, known)
    if column.name in _listed(directives, "nullable") or _may_be_null(query, column):
        return Value(column.name, f"{known} | None")
    return Value(column.name, known)


def _check_word(query: Query, name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name == "db":
        raise RefusedError(query.name, f"{name!r} cannot be a name in Python: choose another (AS)")


def _python_type(query: Query, column: Column, types: Mapping[str, str]) -> str:
    name = column.type.name.removeprefix("pg_catalog.")
    if name == "void":
        raise RefusedError(query.name, "it answers nothing: use :exec")
    if name not in types:
        raise RefusedError(
            query.name,
            f"{column.name} is of type {name}, for which there is no Python type here."
            " Cast it in the statement, or add it to PYTHON_TYPES in checks/sqlc/statement.py",
        )
    return types[name]


def _nested(container: str, item: str, depth: int) -> str:
    return f"{container}[" * depth + item + "]" * depth


def _may_be_null(query: Query, column: Column) -> bool:
    expression = _expression(query.text, column)
    doubtful = NULL_OVER_NOTHING.search(expression) and not NEVER_NULL.match(expression)
    return not column.not_null or bool(doubtful)


def _expression(sql: str, column: Column) -> str:
    """What stands before `AS name`, back to where its entry of the list begins."""
    aliases = list(re.finditer(rf"\bas\s+{re.escape(column.name)}\b", sql, re.IGNORECASE))
    if not aliases:
        return "" if column.table else LIST_BEGINS.sub("", sql, count=1).strip()
    end = aliases[-1].start()
    depth = 0
    for start in range(end - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(sql[start], 0)
        begins = LIST_BEGINS.match(sql, start)
        if depth < 0 or (depth == 0 and (sql[start] == "," or begins)):
            return sql[begins.end() if begins else start + 1 : end].strip()
    return sql[:end]


def _listed(directives: Mapping[str, str], key: str) -> list[str]:
    return re.findall(r"\w+", directives.get(key, ""))
