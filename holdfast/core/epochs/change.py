"""A change: one transaction that is over only when every worker knows of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast.core.db import Executor
from holdfast.core.epochs import queries
from holdfast.core.epochs.lease import Lease, clock

CLOCK_DRIFT = 1.05  # two machines' seconds differ by far less
FIRST_LOOK_S = 0.001
LAST_LOOK_S = 0.02


class Change:
    """The transaction under way: write through `db`, and name what decisions rested on."""

    def __init__(self, db: Executor) -> None:
        self.db = db
        self.subjects: set[str] = set()

    def touches(self, *subjects: str) -> None:
        self.subjects.update(subjects)


@asynccontextmanager
async def change(lease: Lease) -> AsyncIterator[Change]:
    """Commit what the block writes, then wait until no worker decides by what was before.

    A block that touches no subject is an ordinary transaction, and waits for nobody.
    """
    number = None
    async with lease.db.transaction() as connection:
        under_way = Change(connection)
        yield under_way
        if under_way.subjects:
            number = await touch(connection, *under_way.subjects)
    if number is not None:
        await settle(lease, number)


async def touch(db: Executor, *subjects: str) -> int:
    """Note in the caller's transaction that subjects change, where nobody waits to be told that all
    workers know: they do moments after the commit. Come last: until then no other change has a
    number.
    """
    number = await queries.update_epoch_head(db)
    await queries.insert_epoch_change(db, number=number, subjects=sorted(subjects))
    return number


async def settle(lease: Lease, number: int) -> None:
    """Wait until every worker has acknowledged a committed number, or cannot be trusting its lease.

    Whoever is still behind one lease after the commit has none left; it is forgotten, so that the
    next change need not wait for it.
    """
    committed = clock()
    pause = FIRST_LOOK_S
    lease.wake()
    while behind := await queries.select_epoch_workers_behind(lease.db, number):
        waited = clock() - committed
        lapsed = [worker for worker in behind if waited > worker.lease_s * CLOCK_DRIFT]
        for worker in lapsed:
            await queries.delete_epoch_worker(lease.db, worker=worker.worker, beat=worker.beat)
        if len(lapsed) == len(behind):
            return
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LAST_LOOK_S)
