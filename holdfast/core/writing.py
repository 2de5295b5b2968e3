"""A transport on which a head and its body leave together.

uvicorn writes the two one after the other and uvloop hands each to the system at once: two calls
and two packets, which the other side reads twice, were a fifth of what a small answer costs. Here
whatever is written first waits for what follows it, until the next turn of the loop at most.
"""

import asyncio
from asyncio import Transport
from typing import Any


class Together:
    __slots__ = ("_alone", "_first", "_loop", "is_closing")

    def __init__(self, alone: Transport) -> None:
        self._alone = alone
        self._loop = asyncio.get_running_loop()
        self._first: bytes | None = None
        self.is_closing = alone.is_closing

    def write(self, data: bytes) -> None:
        if self._first is None:
            self._first = data
            self._loop.call_soon(self.flush)
        else:
            first, self._first = self._first, None
            self._alone.writelines((first, data))

    def flush(self) -> None:
        if self._first is not None:
            first, self._first = self._first, None
            self._alone.write(first)

    def apart(self) -> Transport:
        """For a protocol whose messages have no two parts."""
        self.flush()
        return self._alone

    def close(self) -> None:
        self.flush()
        self._alone.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._alone, name)
