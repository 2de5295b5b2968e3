"""PostgreSQL through asyncpg: pools, transactions, time-outs, and reads from a replica.

A `Database` is one app's view of the server: its role, its schema, and no more connections or
waiters than it can bear. Every statement has a time-out, and a pool with too long a queue refuses
at once instead of letting everyone wait. Failures of the server become answers (503); errors in
our SQL stay what they are. It builds no SQL: statements are written in `queries.sql`.
"""

from __future__ import annotations  # asyncpg's classes are generic to the checker only

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

import asyncpg

from holdfast.core.errors import BusyError

ACQUIRE_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 6.0  # a little more than the server's own, for when it does not answer at all
WAITERS_PER_CONNECTION = 50


class Executor(Protocol):
    """Whatever runs a statement: the database, or one connection inside a transaction."""

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: Any) -> Any | None: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> str: ...


class DatabaseAwayError(BusyError):
    sentence = "The database does not answer at the moment. Nothing was lost; try again shortly."


class DatabaseBusyError(BusyError):
    sentence = "The database has too much to do at the moment. Try again shortly."


AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
)
BUSY = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
)


@dataclass(frozen=True)
class Address:
    """Where an app's data are, and as whom to speak to them."""

    url: str
    role: str
    schema: str
    replica_url: str | None = None

    def settings(self) -> dict[str, str]:
        return {
            "application_name": self.role,
            "role": self.role,
            "search_path": self.schema,
            "timezone": "UTC",
            "statement_timeout": "5s",
            "lock_timeout": "2s",
            "idle_in_transaction_session_timeout": "10s",
        }


class Database:
    """An app's pool to the primary and, where there is one, to a replica."""

    def __init__(self, address: Address, primary: Any, replica: Any | None) -> None:
        self.address = address
        self._primary = primary
        self._replica = replica
        self.waiting = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address, *, least: int, most: int) -> AsyncIterator[Self]:
        async with _pool(address, address.url, least, most) as primary:
            if address.replica_url is None:
                yield cls(address, primary, None)
                return
            async with _pool(address, address.replica_url, 0, most) as replica:
                yield cls(address, primary, replica)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        async with self._borrow(self._primary) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def reader(self, *, after: str | None = None) -> AsyncIterator[Any]:
        """A connection to read from: the replica, once it has replayed `after` (see `position`).

        A replica that is behind or away is no reason to answer nothing: then it is the primary.
        """
        async with AsyncExitStack() as borrowed:
            replica = await self._replica_at(after, borrowed) if self._replica else None
            yield replica or await borrowed.enter_async_context(self.connection())

    async def _replica_at(self, after: str | None, borrowed: AsyncExitStack) -> Any | None:
        with suppress(BusyError, *AWAY):
            replica = await borrowed.enter_async_context(self._borrow(self._replica))
            if after is None or await replica.fetchval(REPLAYED, after):
                return replica
        return None

    async def position(self) -> str:
        """Where the log stands now: what a reader gives as `after` to see its own writes."""
        return str(await self.fetchval("SELECT pg_current_wal_insert_lsn()::text"))

    async def dedicated(self) -> asyncpg.Connection[Any]:
        """A connection of one's own, outside the pool: to listen, or to work when it is full."""
        return await asyncpg.connect(
            self.address.url,
            timeout=CONNECT_TIMEOUT_S,
            server_settings=self.address.settings(),
        )

    @property
    def in_use(self) -> int:
        return int(self._primary.get_size() - self._primary.get_idle_size())

    @property
    def size(self) -> int:
        return int(self._primary.get_max_size())

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        async with self.connection() as connection:
            return list(await connection.fetch(query, *args))

    async def fetchrow(self, query: str, *args: Any) -> Any | None:
        async with self.connection() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> str:
        async with self.connection() as connection:
            return str(await connection.execute(query, *args))

    @asynccontextmanager
    async def _borrow(self, pool: Any) -> AsyncIterator[Any]:
        if self.waiting >= self.size * WAITERS_PER_CONNECTION:
            raise DatabaseBusyError
        self.waiting += 1
        try:
            connection = await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        except (TimeoutError, asyncpg.TooManyConnectionsError) as error:
            raise DatabaseBusyError from error
        except (*AWAY, OSError) as error:
            raise DatabaseAwayError from error
        finally:
            self.waiting -= 1
        try:
            yield connection
        except AWAY as error:
            if not _is_lost(connection):
                connection.terminate()  # nobody waits any longer for what it was doing
            raise DatabaseAwayError from error
        except BUSY as error:
            raise DatabaseBusyError from error
        except asyncpg.InterfaceError as error:
            if not _is_lost(connection):
                raise
            raise DatabaseAwayError from error
        finally:
            await pool.release(connection)


def _is_lost(connection: Any) -> bool:
    """The pool takes a lost connection back by itself; what we then hold refuses to be asked."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


REPLAYED = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, true)"


def _pool(address: Address, url: str, least: int, most: int) -> Any:
    return asyncpg.create_pool(
        url,
        min_size=least,
        max_size=most,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=ANSWER_TIMEOUT_S,
        reset=_nothing_to_reset,
        server_settings=address.settings(),
    )


async def _nothing_to_reset(_connection: Any) -> None:
    """No statement of ours leaves state in a session; asking the server each time costs x 1.7."""
