"""The promise of epochs under random trouble: what a change ended is never allowed afterwards.

Workers decide from memory as fast as they can, changes go on, connections are cut and tables are
locked for longer than a lease. Each decision is a reading of versions; once a change has returned,
no worker may answer with an older version of what it changed.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import combinations

import asyncpg
import pytest

from holdfast.core.db import Address, Database
from holdfast.core.epochs import Lease, Slots, change
from holdfast.core.errors import BusyError

LEASE_S = 0.2
LASTS_S = 1.5
WORKERS = 3
SUBJECTS = [f"subject:{number}" for number in range(4)]
PAIRS = list(combinations(SUBJECTS, 2))

TROUBLE = [
    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.3""",
    "LOCK TABLE epoch_workers IN SHARE ROW EXCLUSIVE MODE",  # no beats
    "LOCK TABLE epoch_changes IN ACCESS EXCLUSIVE MODE",  # no readings after a beat, no changes
    "SELECT * FROM epoch_workers ORDER BY random() LIMIT 1 FOR UPDATE",  # one worker cannot beat
]


class World:
    """What all workers share: the truth, and what has been seen of them."""

    def __init__(self, owner: asyncpg.Connection, seed: int) -> None:
        self.owner = owner
        self.chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.ended = dict.fromkeys(SUBJECTS, 0)  # the version that the last ended change made
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []

    def check(self, how: str, reading: Mapping[str, int], due: Mapping[str, int]) -> None:
        self.happened[how] += 1
        for subject, version in reading.items():
            if version < due[subject]:
                self.wrong.append(f"{how}: {subject} is {due[subject]}, and {version} was answered")

    async def make_trouble(self) -> None:
        async with self.owner.transaction():
            trouble = self.chance.choice(TROUBLE)
            await self.owner.execute(trouble)
            self.happened["trouble"] += 1
            await asyncio.sleep(self.chance.uniform(0, 1.5 * LEASE_S))
        await asyncio.sleep(self.chance.uniform(0, LEASE_S))

    async def change_something(self, lease: Lease) -> None:
        subject = self.chance.choice(SUBJECTS)
        async with change(lease) as under_way:
            version = await under_way.db.fetchval(
                "UPDATE versions SET version = version + 1 WHERE subject = $1 RETURNING version",
                subject,
            )
            under_way.touches(subject)
        self.ended[subject] = max(self.ended[subject], version)
        self.happened["change"] += 1
        await asyncio.sleep(self.chance.uniform(0, 0.02))


class Decider:
    """One worker's memory of decisions, each of which rests on two subjects."""

    def __init__(self, lease: Lease, world: World) -> None:
        self.lease = lease
        self.world = world
        self.known: dict[tuple[str, str], tuple[dict[str, int], int]] = {}

    async def decide(self) -> None:
        pair = self.world.chance.choice(PAIRS)
        reading, since = self.known.get(pair, ({}, -1))
        if reading and self.lease.trusts(Slots.of(*pair), since):
            self.world.check("from memory", reading, self.world.ended)
            await asyncio.sleep(0)
            return
        due = dict(self.world.ended)
        await self.lease.confirm()
        since = self.lease.slots.noted
        rows = await self.lease.db.fetch("SELECT * FROM versions WHERE subject = ANY($1)", pair)
        self.known[pair] = {row["subject"]: row["version"] for row in rows}, since
        self.world.check("read", self.known[pair][0], due)


async def repeat(act: Callable[[], Awaitable[None]], world: World) -> None:
    """Until the time is over; being told that something is away or busy is no wrong answer."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + LASTS_S
    while loop.time() < ends:
        try:
            await act()
        except BusyError as error:
            world.happened[type(error).__name__] += 1


@pytest.mark.parametrize("seed", range(3))
async def test_no_worker_answers_from_before_a_change_that_has_ended(
    address: Address, owner: asyncpg.Connection, seed: int
) -> None:
    await owner.execute("CREATE TABLE versions (subject text PRIMARY KEY, version bigint NOT NULL)")
    await owner.execute("INSERT INTO versions SELECT unnest($1::text[]), 0", SUBJECTS)
    await owner.execute(f"GRANT SELECT, UPDATE ON versions TO {address.role}")
    world = World(owner, seed)
    async with AsyncExitStack() as stack:
        acts: list[Callable[[], Awaitable[None]]] = [world.make_trouble]
        for _ in range(WORKERS):
            db = await stack.enter_async_context(Database.open(address, least=1, most=6))
            lease = await stack.enter_async_context(Lease.hold(db, lease_s=LEASE_S))
            acts += [Decider(lease, world).decide] * 4
            acts += [lambda lease=lease: world.change_something(lease)] * 2  # type: ignore[misc]
        await asyncio.gather(*(repeat(act, world) for act in acts))
    assert world.wrong == []
    assert {"from memory", "read", "change", "trouble"} <= world.happened.keys()
