"""A `queries.py`, written from its statements. How it looks in detail is the formatter's business."""

import re
from collections.abc import Sequence
from textwrap import indent

from checks.sqlc.statement import RefusedError, Statement, Value

DOCSTRING = '"""Generated from queries.sql by `make sql`; edit that file instead."""'
FULL_NAME = re.compile(r"\b([a-z]+(?:\.[a-z]+)*)\.(\w+)")


def write_module(statements: Sequence[Statement]) -> str:
    rows: dict[str, tuple[Value, ...]] = {}
    parts = []
    for statement in statements:
        if statement.row and _is_new(statement.row, statement, rows):
            parts.append(_row_type(statement.row, statement.columns))
        parts += [_constant(statement), _function(statement)]
    imports = [*_imports(statements), "", "from holdfast.core.db import Executor"]
    return "\n\n".join([DOCSTRING, "\n".join(imports), *parts]) + "\n"


def _is_new(name: str, statement: Statement, rows: dict[str, tuple[Value, ...]]) -> bool:
    if name not in rows:
        rows[name] = statement.columns
        return True
    if rows[name] != statement.columns:
        theirs, ours = (
            {f"{v.name}: {v.type}" for v in vs} for vs in (rows[name], statement.columns)
        )
        raise RefusedError(
            statement.name,
            f"its columns are not those of the other {name}"
            f" ({', '.join(sorted(theirs ^ ours)) or 'another order'}): give its row another name",
        )
    return False


def _imports(statements: Sequence[Statement]) -> list[str]:
    types = [value.type for one in statements for value in (*one.parameters, *one.columns)]
    if any(one.row for one in statements):
        types.append("typing.NamedTuple")
    by_module: dict[str, set[str]] = {}
    for module, name in FULL_NAME.findall(" ".join(types)):
        by_module.setdefault(module, set()).add(name)
    return [f"from {one} import {', '.join(sorted(by_module[one]))}" for one in sorted(by_module)]


def _short(full: str) -> str:
    return FULL_NAME.sub(r"\2", full)


def _row_type(name: str, columns: Sequence[Value]) -> str:
    fields = "\n".join(f"    {column.name}: {_short(column.type)}" for column in columns)
    return f"class {name}(NamedTuple):\n{fields}"


def _constant(statement: Statement) -> str:
    if '"""' in statement.sql:
        raise RefusedError(statement.name, 'a statement cannot hold """')
    raw = "r" if "\\" in statement.sql else ""
    return f'{statement.name.upper()} = {raw}"""\n{statement.sql}\n"""'


def _function(statement: Statement) -> str:
    given = [f"{value.name}: {_short(value.type)}" for value in statement.parameters]
    signature = ", ".join(["db: Executor", *(["*"] if len(given) > 1 else []), *given])
    doc = f'"""{_prose(statement)}"""\n' if statement.prose else ""
    body = indent(doc + _body(statement), "    ")
    return f"async def {statement.name}({signature}) -> {_answer(statement)}:\n{body}"


def _prose(statement: Statement) -> str:
    lines = statement.prose.replace("\\", r"\\").replace('"""', "'''").splitlines()
    return lines[0] if len(lines) == 1 else "\n".join([*lines, ""])


def _answer(statement: Statement) -> str:
    match statement.command:
        case ":exec":
            return "None"
        case ":execrows":
            return "int"
        case ":many":
            return f"list[{_item(statement)}]"
    item = _item(statement)
    return item if statement.exactly_one or item.endswith("| None") else f"{item} | None"


def _item(statement: Statement) -> str:
    return statement.row or _short(statement.columns[0].type)


def _body(statement: Statement) -> str:
    arguments = [statement.name.upper(), *(value.name for value in statement.parameters)]
    call = f"({', '.join(arguments)})"
    match statement.command:
        case ":exec":
            return f"await db.execute{call}"
        case ":execrows":
            return f'status = await db.execute{call}\nreturn int(status.rpartition(" ")[2])'
        case ":many":
            item = f"{statement.row}(*record)" if statement.row else "record[0]"
            return f"return [{item} for record in await db.fetch{call}]"
    return _body_of_one(statement, call)


def _body_of_one(statement: Statement, call: str) -> str:
    if statement.exactly_one and statement.row:
        return f"[record] = await db.fetch{call}\nreturn {statement.row}(*record)"
    if statement.exactly_one:
        return (
            f"[record] = await db.fetch{call}\nvalue: {_item(statement)} = record[0]\nreturn value"
        )
    if statement.row:
        return (
            f"record = await db.fetchrow{call}\n"
            f"return None if record is None else {statement.row}(*record)"
        )
    return f"value: {_answer(statement)} = await db.fetchval{call}\nreturn value"
