"""Merged calls: calls that wait at the same moment become one.

A statement for one row costs about as much as one for five hundred, so under load the cheapest
way to serve a caller is together with everybody who came while the last statement ran. There is
no timer and no waiting window: with nothing in flight a call starts at once, otherwise the next
run starts when the last returns. `run` must be all or nothing (one statement or one transaction),
because after an error each item is run again alone, so that a bad one fails alone. Order between
callers is kept. It does not retry, spread over connections, or outlive its process.

While the next run is under way, those of the last one hear of their answers by and by. Five hundred
callers who all went on at once would keep the loop from seeing what the database says to the next
run, which then would wait for this process, and afterwards this process for it.

    deposits = Merge(insert_deposits, name="deposits")
    receipt = await deposits(deposit)
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextvars import Context
from itertools import islice
from typing import Generic, TypeVar

from holdfast.core.errors import BusyError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")

ONE_IN = 8  # is told at each turn of the loop; with fewer, runs become small and dear


class Merge(Generic[Item, Answer]):
    """Call it with an item; it answers with that item's part of what `run` returned."""

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        *,
        name: str,
        most: int = 512,
        queue: int = 10_000,
    ) -> None:
        self.name = name
        self._run = run
        self._most = most
        self._queue = queue
        self._waiting: dict[asyncio.Future[Answer], Item] = {}
        self._decided: deque[tuple[asyncio.Future[Answer], Answer]] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def queued(self) -> int:
        return len(self._waiting)

    async def __call__(self, item: Item) -> Answer:
        if self._closed or len(self._waiting) >= self._queue:
            raise BusyError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting[future] = item
        if self._flusher is None:
            # The flush serves many callers: it must not carry one caller's request id and trace.
            self._flusher = loop.create_task(self._flush(), name=self.name, context=Context())
        try:
            return await future
        except asyncio.CancelledError:
            self._waiting.pop(future, None)
            raise

    async def aclose(self) -> None:
        """Refuses new calls and returns when those admitted have their answers."""
        self._closed = True
        if self._flusher is not None:
            await asyncio.wait([self._flusher])
        self._tell()

    async def _flush(self) -> None:
        batch: dict[asyncio.Future[Answer], Item] = {}
        try:
            while self._waiting:
                batch = self._take()
                await self._serve(batch)
                batch = {}  # all of it is decided
        finally:
            self._flusher = None
            # Something is left only when this task was cancelled: then nobody else would answer.
            for future in (*batch, *self._waiting):
                future.cancel()

    def _take(self) -> dict[asyncio.Future[Answer], Item]:
        if len(self._waiting) <= self._most:
            batch, self._waiting = self._waiting, {}
            return batch
        first = list(islice(self._waiting, self._most))
        return {future: self._waiting.pop(future) for future in first}

    async def _serve(self, batch: dict[asyncio.Future[Answer], Item]) -> None:
        try:
            answers = await self._ask(list(batch.values()))
        except Exception as error:  # noqa: BLE001 - it is handed to the caller whose item it is
            await self._serve_alone(batch, error)
            return
        if not self._decided:
            asyncio.get_running_loop().call_soon(self._tell)
        self._decided.extend(zip(batch, answers, strict=True))

    def _tell(self) -> None:
        """Everybody, or only some if somebody else waits for the database meanwhile."""
        decided = self._decided
        for _ in range(1 + len(decided) // ONE_IN if self._flusher else len(decided)):
            future, answer = decided.popleft()
            if not future.done():
                future.set_result(answer)
        if decided:
            asyncio.get_running_loop().call_soon(self._tell)

    async def _ask(self, items: list[Item]) -> Sequence[Answer]:
        answers = await self._run(items)
        if len(answers) != len(items):
            raise ValueError(f"{self.name}: {len(items)} items, {len(answers)} answers")
        return answers

    async def _serve_alone(
        self, batch: dict[asyncio.Future[Answer], Item], error: Exception
    ) -> None:
        alone = len(batch) == 1
        for future, item in batch.items():
            # A caller who left by now is not served again: the failed run had no effect.
            if future.done():
                continue
            if alone:
                future.set_exception(error)
            else:
                await self._serve({future: item})


def by_key(
    select: Callable[[list[Key]], Awaitable[Mapping[Key, Row]]],
) -> Callable[[list[Key]], Awaitable[list[Row | None]]]:
    """Makes a `run` for merged reads out of a query with `= ANY($1)`.

    Callers who ask for the same key share it; a key without a row answers None.

        users = Merge(by_key(select_users), name="users")
    """

    async def run(keys: list[Key]) -> list[Row | None]:
        rows = await select(list(dict.fromkeys(keys)))
        return [rows.get(key) for key in keys]

    return run
