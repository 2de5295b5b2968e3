"""Ten thousand new products: under random ids (UUIDv4), and under ids that grow (UUIDv7).

Claim: random ids land all over their index, so that each insert touches a page that nobody has
touched since the last checkpoint, and writes it whole to the log; ids that grow share their pages.
Target: less log and a smaller index for v7; its p95 not above v4's.
What bounds it: one commit an insert, 16 connections at once.

Two tables that differ in nothing but the default of their key have a million products each. Every
round makes a checkpoint, then inserts; the order of the two is random. Index size is what the
inserts of all rounds have added.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import asyncpg

from lab.load import histogram, quantile
from lab.result import Lab, Ratio, Result, Target

BEFORE, INSERTS, TOGETHER, ROUNDS = 1_000_000, 10_000, 16, 3
V4, V7 = "gen_random_uuid()", "uuidv7()"
TABLES = {V4: "products_v4", V7: "products_v7"}
MAKE = """
CREATE TABLE {table} (
  id uuid PRIMARY KEY DEFAULT {key},
  name text NOT NULL, description text NOT NULL, category text NOT NULL,
  price_krw bigint NOT NULL, stock bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {table} (name, description, category, price_krw, stock)
SELECT 'Product ' || n, 'As it was.', 'category', n, 1 FROM generate_series(1, {before}) n;
VACUUM ANALYZE {table}
"""
INSERT = """
INSERT INTO {table} (name, description, category, price_krw, stock)
VALUES ('Blue mug', 'Stoneware, 300 ml.', 'kitchen', 12900, 1) RETURNING id
"""


@dataclass(frozen=True)
class Round:
    took_s: list[float]
    seconds: float
    wal_bytes: int
    index_bytes: int


def measure(lab: Lab) -> Result:
    with lab.stack.database("catalog") as environ:
        rounds = asyncio.run(_measure(lab, environ))
    p95 = {key: [quantile(each.took_s, 0.95) for each in rounds[key]] for key in TABLES}
    wal = {key: [float(each.wal_bytes) for each in rounds[key]] for key in TABLES}
    grown = {key: sum(each.index_bytes for each in rounds[key]) for key in TABLES}
    slower = Ratio.of(p95[V7], p95[V4])
    return Result(
        columns=("key", "inserts/s", "p50 ms", "p95 ms", "log bytes an insert", "index bytes"),
        rows=[_row(key, rounds[key]) for key in TABLES],
        targets=[
            Target("p95 with v7, times v4's", "1", str(slower), slower.middle <= 1),
            Target(
                "log written with v7, times v4's",
                "less than 1",
                str(Ratio.of(wal[V7], wal[V4])),
                max(wal[V7]) < min(wal[V4]),
            ),
            Target(
                "index grown by v7, times v4's",
                "less than 1",
                f"{grown[V7] / max(grown[V4], 1):.2f}",
                grown[V7] < grown[V4],
            ),
        ],
        others=None,
        notes=[
            f"{BEFORE:,} products in each table before; {ROUNDS} rounds of {INSERTS:,} inserts.",
            f"{TOGETHER} at once. Index bytes are by insert, over all rounds.",
        ],
        raw={
            key: [{**vars(each), "took_s": histogram(each.took_s)} for each in rounds[key]]
            for key in TABLES
        },
    )


async def _measure(lab: Lab, environ: Mapping[str, str]) -> dict[str, list[Round]]:
    shuffled = random.Random(1)
    rounds: dict[str, list[Round]] = defaultdict(list)
    async with asyncpg.create_pool(
        environ["DATABASE_URL"], min_size=TOGETHER, max_size=TOGETHER
    ) as pool:
        for key, table in TABLES.items():
            lab.say(f"making {BEFORE:,} products under {key}")
            for statement in MAKE.format(table=table, key=key, before=BEFORE).split(";"):
                await pool.execute(statement, timeout=120)
        for number in range(ROUNDS):
            for key in shuffled.sample(list(TABLES), len(TABLES)):
                lab.say(f"round {number + 1}/{ROUNDS}  {key}")
                rounds[key].append(await _round(pool, TABLES[key]))
    return rounds


async def _round(pool: "asyncpg.Pool[asyncpg.Record]", table: str) -> Round:
    await pool.execute("CHECKPOINT", timeout=120)
    at, size = await _state(pool, table)
    took: list[float] = []

    async def insert() -> None:
        async with pool.acquire() as connection:
            statement = await connection.prepare(INSERT.format(table=table))
            for _ in range(INSERTS // TOGETHER):
                began = perf_counter()
                await statement.fetchval()
                took.append(perf_counter() - began)

    began = perf_counter()
    await asyncio.gather(*(insert() for _ in range(TOGETHER)))
    seconds = perf_counter() - began
    at_end, size_at_end = await _state(pool, table)
    return Round(took, seconds, at_end - at, size_at_end - size)


async def _state(pool: "asyncpg.Pool[asyncpg.Record]", table: str) -> tuple[int, int]:
    """Where the log stands, and how large the key's index is."""
    row = await pool.fetchrow(
        """SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS at,
        pg_relation_size($1::text::regclass) AS size""",
        f"{table}_pkey",
    )
    return (row["at"], row["size"]) if row else (0, 0)


def _row(key: str, rounds: list[Round]) -> list[str]:
    return [
        key,
        f"{median(len(each.took_s) / each.seconds for each in rounds):,.0f}",
        *(f"{median(quantile(each.took_s, q) for each in rounds) * 1000:.2f}" for q in (0.5, 0.95)),
        f"{median(each.wal_bytes for each in rounds) / INSERTS:,.0f}",
        f"{sum(each.index_bytes for each in rounds) / len(rounds) / INSERTS:,.1f}",
    ]
