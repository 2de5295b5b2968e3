"""What our sqlc plugin makes of queries, what it refuses, and that what it writes works."""

from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from checks.sqlc.module import write_module
from checks.sqlc.request import Column, Parameter, Query, TypeName
from checks.sqlc.statement import RefusedError, Statement, understand


def column(name: str, type_: str = "text", dims: int = 0) -> Column:
    return Column(
        name=name,
        not_null=True,
        array_dims=dims,
        type=TypeName(name=type_),
        table=None,
        is_named_param=True,
    )


ID, NAME = column("id", "int4"), column("name")


def query(name: str = "select_it", *, comments: str = "", **changes: Any) -> Query:
    given = {"cmd": ":one", "text": "SELECT 1 AS id, 'a' AS name", "columns": [ID, NAME]} | changes
    given["params"] = [Parameter(n, one) for n, one in enumerate(changes.get("params", []), 1)]
    return Query(name=name, comments=[f" {line}" for line in comments.splitlines()], **given)


def understood(**given: Any) -> Statement:
    return understand(query(**given), frozenset({"mood"}))


def test_several_columns_become_a_row_of_their_own_type() -> None:
    module = write_module(
        [understood(comments="About it.\nrow: It", params=[column("on", "date")])]
    )
    assert "from datetime import date\n" in module
    assert "class It(NamedTuple):\n    id: int\n    name: str" in module
    assert "async def select_it(db: Executor, on: date) -> It | None:" in module
    assert '"""About it."""' in module


def test_queries_with_the_same_columns_share_a_row() -> None:
    both = [understood(comments="row: It"), understood(name="select_again", comments="row: It")]
    assert write_module(both).count("class It(") == 1
    other = understood(name="select_other", comments="row: It\nnullable: name")
    with pytest.raises(RefusedError, match=r"name: str \| None"):
        write_module([*both, other])


def test_two_parameters_are_given_by_name() -> None:
    assert "(db: Executor, *, id: int, name: str)" in write_module([understood(params=[ID, NAME])])


@pytest.mark.parametrize(
    ("given", "python"),
    [
        (column("a", "pg_catalog.timestamptz"), "datetime.datetime"),
        (column("a", "mood"), "str"),
        (replace(column("a", "uuid"), not_null=False), "uuid.UUID | None"),
        (column("a", "int8", dims=2), "list[list[int]]"),
    ],
)
def test_types(given: Column, python: str) -> None:
    assert understood(columns=[given]).columns[0].type == python


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("SELECT name, sum(id) AS id FROM t", "int | None"),
        ("SELECT sum(id) FROM t", "int | None"),
        ("SELECT name, (SELECT 1 WHERE false) AS id", "int | None"),
        ("WITH s AS (SELECT max(id) AS id FROM t) SELECT id, name FROM s", "int | None"),
        ("SELECT coalesce(sum(id), 0)::int AS id, max(name) AS name FROM t", "int"),
        ("SELECT name, EXISTS (SELECT 1) AS id", "int"),
        ("SELECT EXISTS (SELECT 1)", "int"),
        ("SELECT id + 1 AS id, name FROM t WHERE id > (SELECT 1)", "int"),
    ],
)
def test_what_is_null_over_no_rows_may_be_null(text: str, python: str) -> None:
    assert understood(text=text).columns[0].type == python


def test_the_author_knows_better_than_the_analyser() -> None:
    known = understood(
        text="SELECT max(id) AS id, name FROM t",
        comments="not null: id\nnullable: name\nnullable items: ids",
        params=[column("ids", "int4", dims=1)],
    )
    assert [one.type for one in known.columns] == ["int", "str | None"]
    assert known.parameters[0].type == "collections.abc.Sequence[int | None]"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "SelectIt"}, "says what the query does"),
        ({"name": "get_it"}, "says what the query does"),
        ({"name": "delete_it"}, "does no such thing"),
        ({"name": "upsert_it", "text": "INSERT INTO t VALUES (1)"}, "does no such thing"),
        ({"cmd": ":batchexec"}, "is none of"),
        ({"columns": []}, "answers no columns"),
        ({"columns": [column("locked", "void")]}, "use :exec"),
        ({"columns": [column("words", "tsvector")]}, "words is of type tsvector"),
        ({"columns": [column("?column?")]}, "cannot be a name"),
        ({"columns": [ID, column("count", "int8")]}, "a method of every tuple"),
        ({"columns": [ID, ID]}, "two columns are called id"),
        ({"columns": [ID], "comments": "row: It"}, "drop `row:`"),
        ({"cmd": ":many", "comments": "exactly one row"}, "is for :one"),
        ({"comments": "nullable: nmae"}, "has nothing called nmae"),
        ({"params": [replace(ID, is_named_param=False)]}, "need names"),
        ({"params": [column("idpg_catalogint8")]}, "needs brackets"),
        ({"params": [column("class")]}, "cannot be a name"),
    ],
)
def test_what_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        understood(**given)


async def test_written_functions_answer_what_they_say(database_url: str) -> None:
    ids = [column("ids", "int4", dims=1)]
    rows = "SELECT id, chr(96 + id) AS name FROM generate_series(1, 2) AS id WHERE id = ANY($1)"
    names = "SELECT chr(96 + id) AS name FROM generate_series(1, 2) AS id WHERE id = ANY($1)"
    row = {"text": rows, "params": ids}
    value = {"text": names, "params": ids, "columns": [NAME]}
    written = write_module(
        [
            understood(name="select_row", comments="row: It", **row),
            understood(name="select_rows", comments="row: It", cmd=":many", **row),
            understood(name="select_only_row", comments="row: It\nexactly one row", **row),
            understood(name="select_name", **value),
            understood(name="select_names", cmd=":many", **value),
            understood(name="select_only_name", comments="exactly one row", **value),
            understood(name="select_nothing", cmd=":exec", **row),
            understood(name="select_count", cmd=":execrows", **row),
        ]
    )
    made: dict[str, Any] = {"__name__": "made"}
    exec(written, made)  # noqa: S102 - this is the module under test
    db = await asyncpg.connect(database_url)
    try:
        assert await made["select_row"](db, [2]) == made["It"](id=2, name="b")
        assert await made["select_row"](db, [9]) is None
        assert [one.name for one in await made["select_rows"](db, [1, 2])] == ["a", "b"]
        assert (await made["select_only_row"](db, [1])).name == "a"
        assert await made["select_name"](db, [1]) == "a"
        assert await made["select_name"](db, [9]) is None
        assert await made["select_names"](db, [1, 2]) == ["a", "b"]
        assert await made["select_only_name"](db, [2]) == "b"
        assert await made["select_nothing"](db, [1]) is None
        assert await made["select_count"](db, [1, 2, 9]) == 2
        for name in ("select_only_row", "select_only_name"):
            with pytest.raises(ValueError, match="expected 1"):
                await made[name](db, [9])
    finally:
        await db.close()
