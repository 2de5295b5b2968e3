"""Who listens on this worker until their request is decided: one look at the table serves them all."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from uuid import UUID

from holdfast.apps.orders.requests import queries
from holdfast.apps.orders.requests.schemas import RequestOut, TooManyListenersError, request_of
from holdfast.core.db import Database
from holdfast.core.errors import BusyError

MOST = 5_000
LOOK_EVERY_S = 0.1

Heard = asyncio.Future[RequestOut]


class Listeners:
    def __init__(self) -> None:
        self._listening: dict[Heard, UUID] = {}
        self._looking: asyncio.Task[None] | None = None

    def require_room(self) -> None:
        if len(self._listening) >= MOST:
            raise TooManyListenersError

    @contextmanager
    def listening(self, db: Database, request_id: UUID) -> Iterator[Heard]:
        """What is decided about this request, as soon as it is known here."""
        heard: Heard = asyncio.get_running_loop().create_future()
        self._listening[heard] = request_id
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(db), context=Context())
        try:
            yield heard
        finally:
            self._listening.pop(heard, None)

    async def _look(self, db: Database) -> None:
        """Again and again, as long as anybody listens."""
        try:
            while self._listening:
                await asyncio.sleep(LOOK_EVERY_S)
                with suppress(BusyError):  # the next look may find the database well
                    self._tell(await queries.select_requests_decided(db, self._wanted()))
        finally:
            self._looking = None
            for heard in self._listening:  # there are some left only if something is wrong
                heard.cancel()

    def _wanted(self) -> list[UUID]:
        return list(set(self._listening.values()))

    def _tell(self, rows: list[queries.Request]) -> None:
        decided = {row.id: request_of(row) for row in rows}
        told = [heard for heard, request_id in self._listening.items() if request_id in decided]
        for heard in told:
            request = decided[self._listening.pop(heard)]
            if not heard.done():
                heard.set_result(request)
