"""That the rules of style see what they should see, and nothing else."""

import pytest

from checks.style import long_functions, misnumbered, unguarded_writes, unwanted_words


def test_a_long_function_is_reported() -> None:
    source = "async def f():\n" + "    pass\n" * 70
    assert list(long_functions(source)) == ["f has 71 lines"]
    assert not list(long_functions(source.replace("    pass\n", "", 1)))


def test_lines_of_a_string_make_no_function_long() -> None:
    assert not list(long_functions('def f():\n    g("""\n' + "SELECT\n" * 100 + '""")\n'))


@pytest.mark.parametrize(
    "text",
    [
        "see https://pypi" + ".org/simple",
        "--index" + "-url x",
        "cd /ro" + "ot/work",
        "'/ho" + "me/ada/x'",
        "# TO" + "DO: later",
    ],
)
def test_an_unwanted_word_is_reported(text: str) -> None:
    assert len(list(unwanted_words(text))) == 1


@pytest.mark.parametrize("text", ["gateway/home/pages/", "/users/me/", "mktemp XXXXXX", "todo"])
def test_other_words_are_wanted(text: str) -> None:
    assert not list(unwanted_words(text))


@pytest.mark.parametrize(
    ("sql", "writes"),
    [
        ("UPDATE t SET a = 1", ["UPDATE"]),
        ("DELETE FROM t", ["DELETE FROM"]),
        ("DELETE FROM t USING (SELECT 1 WHERE true) s", ["DELETE FROM"]),
        ("WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d WHERE a = 1", ["DELETE FROM"]),
        ("UPDATE t SET a = 1; DELETE FROM t", ["UPDATE", "DELETE FROM"]),
        ("UPDATE t SET a = 'where' -- where", ["UPDATE"]),
        ("UPDATE t SET a = (SELECT 1 WHERE true) WHERE b = 2", []),
        ("WITH d AS (DELETE FROM t WHERE a = 1 RETURNING a) SELECT a FROM d", []),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", []),
        ("SELECT a FROM t FOR NO KEY UPDATE SKIP LOCKED", []),
    ],
)
def test_a_write_without_where_is_reported(sql: str, writes: list[str]) -> None:
    wanted = [f"change_it: {write} without WHERE" for write in writes]
    assert list(unguarded_writes(f"-- name: change_it :exec\n{sql}")) == wanted


def test_a_gap_between_migrations_is_reported() -> None:
    assert not list(misnumbered(["0002_b.sql", "0001_a.sql"]))
    assert list(misnumbered(["0001_a.sql", "0003_c.sql"])) == [
        "0003_c.sql should be 0002_<name>.sql"
    ]
    assert list(misnumbered(["1_a.sql"])) == ["1_a.sql should be 0001_<name>.sql"]
