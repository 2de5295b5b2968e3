"""The promise of epochs under random trouble: what a change ended is never allowed afterwards.

Workers decide from memory as fast as they can while changes go on; their lines to the database are
cut, or stopped for longer than a lease, and tables are locked. Each decision is a reading of
versions: once a change has returned, no worker may answer with an older version of its subject.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import combinations
from urllib.parse import urlsplit

import asyncpg
import pytest

from holdfast.core.db import Address, Database
from holdfast.core.epochs import EpochsAwayError, Lease, Slots, change
from holdfast.core.errors import BusyError

LEASE_S = 0.2
LASTS_S = 1.5
WORKERS = 3
SUBJECTS = [f"subject:{number}" for number in range(4)]
PAIRS = list(combinations(SUBJECTS, 2))
TO_HAPPEN = {"from memory", "read", "change", "lock", "trouble with a line"}
LOCKS = [
    "LOCK TABLE epoch_workers IN SHARE ROW EXCLUSIVE MODE",  # no beats
    "LOCK TABLE epoch_changes IN ACCESS EXCLUSIVE MODE",  # no reading after a beat, no changes
    "SELECT * FROM epoch_workers ORDER BY random() LIMIT 1 FOR UPDATE",  # one worker cannot beat
]


class Line:
    """A worker's own way to the server: it can be stopped, as a network that swallows everything,
    and it can be cut.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.going = asyncio.Event()
        self.going.set()
        self._ends: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        async with server:
            yield int(server.sockets[0].getsockname()[1])
            self.cut()

    def cut(self) -> None:
        for end in self._ends:
            end.close()

    async def _connect(self, ours: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        theirs, forth = await asyncio.open_connection("127.0.0.1", self.port)
        self._ends |= {back, forth}
        await asyncio.gather(self._carry(ours, forth), self._carry(theirs, back))
        self._ends -= {back, forth}

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self.going.wait()
                sink.write(data)
        sink.close()


class World:
    """What all workers share: the truth, and what was made of it."""

    def __init__(self, owner: asyncpg.Connection, seed: int) -> None:
        self.owner = owner
        self.chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.lines: list[Line] = []
        self.ended = dict.fromkeys(SUBJECTS, 0)  # the version that the last ended change made
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []

    @property
    def lacks(self) -> set[str]:
        return TO_HAPPEN - self.happened.keys()

    def check(self, how: str, reading: Mapping[str, int], due: Mapping[str, int]) -> None:
        self.happened[how] += 1
        for subject, version in reading.items():
            if version < due[subject]:
                self.wrong.append(f"{how}: {subject} is {due[subject]}, and {version} was answered")

    async def trouble_a_line(self) -> None:
        line = self.chance.choice(self.lines)
        if self.chance.random() < 0.3:
            line.cut()
        line.going.clear()
        await asyncio.sleep(self.chance.uniform(0, 4 * LEASE_S))
        line.going.set()
        self.happened["trouble with a line"] += 1
        await asyncio.sleep(self.chance.uniform(0, LEASE_S))

    async def lock_a_table(self) -> None:
        async with self.owner.transaction():
            await self.owner.execute(self.chance.choice(LOCKS))
            await asyncio.sleep(self.chance.uniform(0, LEASE_S))
        self.happened["lock"] += 1
        await asyncio.sleep(self.chance.uniform(0, 2 * LEASE_S))


class Worker:
    """Remembers decisions, each of which rests on two subjects, and changes subjects."""

    def __init__(self, lease: Lease, world: World) -> None:
        self.lease = lease
        self.world = world
        self.known: dict[tuple[str, str], tuple[dict[str, int], int]] = {}

    async def decide(self) -> None:
        pair = self.world.chance.choice(PAIRS)
        reading, since = self.known.get(pair, ({}, -1))
        if reading and self.lease.trusts(Slots.of(*pair), since):
            self.world.check("from memory", reading, self.world.ended)
            await asyncio.sleep(0.001)
            return
        due = dict(self.world.ended)
        await self.lease.confirm()
        since = self.lease.slots.noted
        rows = await self.lease.db.fetch("SELECT * FROM versions WHERE subject = ANY($1)", pair)
        reading = {row["subject"]: row["version"] for row in rows}
        self.known[pair] = reading, since
        self.world.check("read", reading, due)

    async def change(self) -> None:
        subject = self.world.chance.choice(SUBJECTS)
        async with change(self.lease) as under_way:
            version = await under_way.db.fetchval(
                "UPDATE versions SET version = version + 1 WHERE subject = $1 RETURNING version",
                subject,
            )
            under_way.touches(subject)
        self.world.ended[subject] = max(self.world.ended[subject], version)
        self.world.happened["change"] += 1
        await asyncio.sleep(self.world.chance.uniform(0, 0.02))


@asynccontextmanager
async def worker(address: Address, world: World) -> AsyncIterator[Worker]:
    port = urlsplit(address.url).port or 0
    line = Line(port)
    async with line.listening() as own_port:
        own = replace(address, url=address.url.replace(f":{port}/", f":{own_port}/"))
        async with (
            Database.open(own, least=1, most=6) as db,
            Lease.hold(db, lease_s=LEASE_S) as lease,
        ):
            world.lines.append(line)
            yield Worker(lease, world)


async def start(address: Address, world: World, stack: AsyncExitStack) -> Worker:
    """As often as it takes: on a slow machine the first beat may last longer than such a lease."""
    while True:
        with suppress(EpochsAwayError):
            return await stack.enter_async_context(worker(address, world))


async def repeat(act: Callable[[], Awaitable[None]], world: World) -> None:
    """Until the time is over, and all has happened on a slow machine too; being told that something
    is away or busy is no wrong answer.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + LASTS_S
    while loop.time() < ends or world.lacks:
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
        workers = [await start(address, world, stack) for _ in range(WORKERS)]
        acts = [world.lock_a_table, world.trouble_a_line, world.trouble_a_line]
        for one in workers:
            acts += [one.decide] * 4 + [one.change] * 2
        await asyncio.gather(*(repeat(act, world) for act in acts))
    assert world.wrong == []
