"""The refresh look-up in the database, among ten million live tokens.

Claim: a refresh token is found in the index alone, in the one partition that it names itself.
Target: below 0.2 ms in the database, index-only, at 10 million tokens.
What bounds it: four or five index pages, which are in PostgreSQL's or the kernel's memory or not.

The rows are put into the real table with its indexes in place; only the commit is not awaited
while they are loaded. The same question is then asked without the partial index, inside a
transaction that is rolled back: once with no index that answers it, as in the system that this
one replaces, and once with the plain index on the hash that one would make first.
"""

import asyncio
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from statistics import median
from tempfile import gettempdir
from time import perf_counter
from typing import Any

import asyncpg

from holdfast.apps.identity.sessions.queries import SELECT_LIVE_REFRESH_TOKEN
from lab.load import histogram, quantile
from lab.machine import Moment, Use
from lab.result import Lab, Result, Target

TOKENS, BATCH = 10_000_000, 1_000_000
LIFE_S = 30 * 86_400
NEEDED_GIB = 15
EXPLAINED, EXPLAINED_SLOW, PREPARED = 300, 3, 5_000
WANTED_MS = 0.2
Plan = dict[str, Any]
PLAIN_INDEX = "CREATE INDEX refresh_tokens_plain ON refresh_tokens (hash)"

# In the order of their hashes, batch by batch, because an index is filled faster so; expiries
# are spread over the thirty days that tokens live.
INSERT_TOKENS = """
INSERT INTO refresh_tokens (hash, expires_at, session_id)
SELECT sha256(int8send(n)), $3::timestamptz + (n % $4) * interval '1 second', gen_random_uuid()
FROM generate_series($1::bigint, $2::bigint) n
ORDER BY 1
"""
STATISTICS = """
SELECT calls, mean_exec_time, min_exec_time, max_exec_time, stddev_exec_time
FROM pg_stat_statements WHERE query LIKE 'SELECT session_id FROM refresh_tokens%'
"""
SIZES = """
SELECT sum(pg_table_size(inhrelid)) AS heap, sum(pg_indexes_size(inhrelid)) AS indexes
FROM pg_inherits WHERE inhparent = 'refresh_tokens'::regclass
"""


class NoRoomError(Exception):
    """The temporary folder has too little room for ten million rows and their log."""


class Tokens:
    """The tokens that were put in, known by their numbers."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self._random = random.Random(1)

    def some(self, number: int) -> list[tuple[bytes, datetime]]:
        return [self._token(self._random.randint(1, TOKENS)) for _ in range(number)]

    def _token(self, n: int) -> tuple[bytes, datetime]:
        return sha256(n.to_bytes(8, "big")).digest(), self.since + timedelta(seconds=n % LIFE_S)


@dataclass(frozen=True)
class Found:
    plans: dict[str, list[Plan]]
    round_trips_s: list[float]
    statistics: dict[str, Any]  # of the prepared statement, by the database's own clock
    sizes: dict[str, Any]
    loaded_s: float
    use: Use


def measure(lab: Lab) -> Result:
    free_gib = shutil.disk_usage(gettempdir()).free / 2**30
    if free_gib < NEEDED_GIB:
        raise NoRoomError(f"{gettempdir()} has {free_gib:.0f} GiB free; {NEEDED_GIB} are needed.")
    with lab.stack.database() as environ:
        return asyncio.run(_measure(lab, environ["DATABASE_URL"]))


async def _measure(lab: Lab, url: str) -> Result:
    owner = await asyncpg.connect(
        url, command_timeout=600, server_settings={"search_path": "identity,public"}
    )
    try:
        tokens = Tokens(await owner.fetchval("SELECT date_trunc('second', now()) + '1 hour'"))
        loaded_s = await _load(lab, owner, tokens)
        sizes = await owner.fetchrow(SIZES)
        before = Moment.now(lab.stack.watched)
        lab.say("asking, as Holdfast does")
        ours = await _explain(owner, tokens.some(EXPLAINED))
        round_trips_s, statistics = await _ask(owner, tokens)
        none, plain = await _without_partial_index(lab, owner, tokens)
    finally:
        await owner.close()
    return _result(
        Found(
            plans={"partial index": ours, "no index": none, "plain index on the hash": plain},
            round_trips_s=round_trips_s,
            statistics=statistics,
            sizes=dict(sizes or {}),
            loaded_s=loaded_s,
            use=Moment.now(lab.stack.watched).since(before),
        )
    )


async def _load(lab: Lab, owner: Any, tokens: Tokens) -> float:
    began = perf_counter()
    await owner.execute("SET synchronous_commit = off; SET work_mem = '256MB'")
    for first in range(1, TOKENS + 1, BATCH):
        await owner.execute(INSERT_TOKENS, first, first + BATCH - 1, tokens.since, LIFE_S)
        lab.say(f"{first + BATCH - 1:,} of {TOKENS:,} tokens")
    lab.say("vacuum analyze, checkpoint")
    await owner.execute("VACUUM ANALYZE refresh_tokens")
    await owner.execute("CHECKPOINT")
    await owner.execute("RESET synchronous_commit; RESET work_mem")
    return perf_counter() - began


async def _explain(owner: Any, tokens: Sequence[tuple[bytes, datetime]]) -> list[Plan]:
    """Plans with their times, of different tokens."""
    asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SELECT_LIVE_REFRESH_TOKEN}"
    return [json.loads(await owner.fetchval(asked, *token))[0] for token in tokens]


async def _ask(owner: Any, tokens: Tokens) -> tuple[list[float], dict[str, Any]]:
    """Round trips of the prepared statement, and what the database says that they took inside."""
    await owner.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    await owner.execute("SELECT pg_stat_statements_reset()")
    statement = await owner.prepare(SELECT_LIVE_REFRESH_TOKEN)
    round_trips = []
    for token in tokens.some(PREPARED):
        began = perf_counter()
        session = await statement.fetchval(*token)
        round_trips.append(perf_counter() - began)
        if session is None:
            raise LookupError("A token that was put in was not found.")
    return round_trips, dict(await owner.fetchrow(STATISTICS) or {})


async def _without_partial_index(
    lab: Lab, owner: Any, tokens: Tokens
) -> tuple[list[Plan], list[Plan]]:
    undone = owner.transaction()
    await undone.start()
    try:
        lab.say("asking without the partial index")
        await owner.execute("DROP INDEX refresh_tokens_live")
        none = await _explain(owner, tokens.some(EXPLAINED_SLOW))
        lab.say("making a plain index, asking again")
        await owner.execute(f"SET LOCAL maintenance_work_mem = '512MB'; {PLAIN_INDEX}")
        plain = await _explain(owner, tokens.some(EXPLAINED))
    finally:
        await undone.rollback()
    return none, plain


def _result(found: Found) -> Result:
    ours, mean_ms = found.plans["partial index"], found.statistics["mean_exec_time"]
    index_only = all(_scan(plan)["Node Type"] == "Index Only Scan" for plan in ours)
    round_trip = [f"{1000 * quantile(found.round_trips_s, q):.3f}" for q in (0.5, 0.99)]
    heap_mib, indexes_mib = (found.sizes[part] / 2**20 for part in ("heap", "indexes"))
    return Result(
        columns=("look-up", "scan", "median ms", "p99 ms", "pages"),
        rows=[
            *(_row(name, plans) for name, plans in found.plans.items()),
            ["prepared, inside (mean, pg_stat_statements)", "", f"{mean_ms:.4f}", "", ""],
            ["prepared, round trip of one client", "", *round_trip, ""],
        ],
        targets=[
            Target(
                f"in the database among {TOKENS:,} tokens, mean of {PREPARED:,}",
                f"< {WANTED_MS} ms, index-only",
                f"{mean_ms:.4f} ms, {'index-only' if index_only else 'NOT index-only'}",
                mean_ms < WANTED_MS and index_only,
            ),
            Target(
                "times as long with no index that answers it",
                "",
                f"{_median_ms(found.plans['no index']) / _median_ms(ours):,.0f}",
                None,
            ),
        ],
        others=found.use.others,
        notes=[
            (
                f"Table {heap_mib:,.0f} MiB, indexes {indexes_mib:,.0f} MiB, loaded in"
                f" {found.loaded_s:.0f} s. EXPLAIN's own clock adds to the first three rows."
            ),
            "A token carries its expiry, so every variant reads one weekly partition of five.",
            (
                f"Meanwhile other programs took {100 * found.use.others:.0f} % of a core, pressure"
                f" {100 * found.use.pressure:.0f} %."
            ),
        ],
        raw={
            "execution_ms": {
                name: [plan["Execution Time"] for plan in plans]
                for name, plans in found.plans.items()
            },
            "round_trip_us": histogram(found.round_trips_s),
            "pg_stat_statements": found.statistics,
            "a_plan": {name: plans[-1] for name, plans in found.plans.items()},
            "use": vars(found.use),
        },
    )


def _row(name: str, plans: list[Plan]) -> list[str]:
    scan = _scan(plans[-1])
    pages = median(_scan(p)["Shared Hit Blocks"] + _scan(p)["Shared Read Blocks"] for p in plans)
    return [
        name,
        scan["Node Type"],
        f"{_median_ms(plans):.3f}",
        f"{quantile([plan['Execution Time'] for plan in plans], 0.99):.3f}",
        f"{pages:,.0f}",
    ]


def _median_ms(plans: list[Plan]) -> float:
    return float(median(plan["Execution Time"] for plan in plans))


def _scan(plan: dict[str, Any]) -> dict[str, Any]:
    """The node that reads the table, below whatever gathers."""
    node: dict[str, Any] = plan["Plan"]
    while "Plans" in node:
        node = node["Plans"][0]
    return node
