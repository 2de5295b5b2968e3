"""The load generator counts right: tried against a tiny server that keeps its own count."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.load import Generator, Stream, get, histogram, quantile

PATH = "/anything"


class Counting:
    """Answers every request; each third with a 503, and every body in two pieces."""

    def __init__(self) -> None:
        self.asked = 0
        self.port = 0

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            self.asked += 1
            status = b"503 Busy" if self.asked % 3 == 0 else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 8\r\n\r\nhalf" % status)
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(b"half")

    async def _serve(self, ready: threading.Event) -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._talk(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await self._over.wait()

    @contextmanager
    def serving(self) -> Iterator["Counting"]:
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        thread.start()
        assert ready.wait(30)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join()


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator.start() as started:
        yield started


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting().serving() as serving:
        yield serving


def test_closed_loop_counts_every_answer_by_its_status(
    generator: Generator, server: Counting
) -> None:
    stream = Stream("closed", server.port, [[get(PATH)]] * 4, most=300)
    tally = generator.fire(stream, seconds=20, warm_s=0).tallies["closed"]
    assert tally.answered == sum(tally.statuses.values())
    assert 0 <= server.asked - tally.answered <= 4  # those still under way when it was over
    assert set(tally.statuses) == {200, 503}
    assert tally.failures == tally.statuses[503]
    assert abs(tally.statuses[503] - tally.answered / 3) <= 5


def test_open_loop_sends_what_was_due_and_keeps_its_lateness(
    generator: Generator, server: Counting
) -> None:
    stream = Stream("open", server.port, [[get(PATH)]] * 8, rate=400)
    tally = generator.fire(stream, seconds=3, warm_s=0).tallies["open"]
    assert 900 < server.asked < 1500  # Poisson, and never as many as a closed loop would send
    assert tally.unanswered == 0
    assert len(tally.lateness) == len(tally.service_times) == tally.answered
    assert 0 < tally.answered <= server.asked  # without those due before it began to count


def test_open_loop_counts_silence_as_waiting(generator: Generator) -> None:
    with Silent() as port:
        stream = Stream("silent", port, [[get(PATH)]] * 2, rate=20)
        tally = generator.fire(stream, seconds=0.5, warm_s=0).tallies["silent"]
    assert tally.unanswered == tally.failures == tally.answered > 0
    assert min(tally.latencies) > 4


def test_a_connection_asks_what_follows_from_its_last_answer(
    generator: Generator, server: Counting
) -> None:
    stream = Stream("chain", server.port, [[get(PATH)]], follow=next_request, most=10)
    tally = generator.fire(stream, seconds=20, warm_s=0).tallies["chain"]
    assert tally.answered == 10


def next_request(body: bytes) -> bytes:
    assert body == b"halfhalf"
    return get(PATH)


def test_histogram_keeps_every_value_in_its_bucket() -> None:
    told = histogram([0.000_001, 0.001, 0.001, 0.5])
    assert sum(told.values()) == 4
    assert max(map(int, told)) >= 500_000
    assert quantile([0.3, 0.1, 0.2], 0.5) == 0.2


class Silent:
    """Takes connections and never answers."""

    def __enter__(self) -> int:
        self._listening = socket.create_server(("127.0.0.1", 0))
        return int(self._listening.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listening.close()
