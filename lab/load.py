"""The load generator: one process on a core of its own, cheap enough not to be the limit.

A `Stream` is a set of keep-alive connections to one port. In the closed loop each connection asks
again when it was answered; in the open loop requests are due at random moments with a fixed rate,
as strangers come, and latency counts from when a request was due, so that a server that stalls
cannot hide it. Answers are read by their Content-Length; anything else is a failure, not a wait.
Every run is bounded in time, and its first seconds are thrown away.
"""

import asyncio
import gc
import os
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from math import ceil, log
from multiprocessing import get_context
from time import perf_counter

import uvloop

from lab.machine import LOAD_CORE, Moment, Use
from lab.timer import Alarm

HOST = "127.0.0.1"
LAST_ANSWERS_S = 5.0  # in the open loop, for what was sent near the end
BUCKET = 1.05  # a histogram's buckets grow by this factor
SEED = 20_260_101
OK, REDIRECTED = 200, 300

Follow = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Stream:
    """Each connection goes round its own list of requests, or asks what follows from an answer."""

    name: str
    port: int
    connections: Sequence[Sequence[bytes]]
    rate: float | None = None  # per second, over all connections; None is the closed loop
    follow: Follow | None = None  # the next request of a connection, from its last answer's body
    most: int | None = None  # stop after so many answers


@dataclass
class Tally:
    """What became of a stream's requests in the measured time. Latencies in seconds."""

    name: str
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    latencies: list[float] = field(default_factory=list)
    service_times: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        return self.answered / self.seconds

    @property
    def failures(self) -> int:
        """Whatever was not a success, answered or not."""
        return self.unanswered + sum(
            n for status, n in self.statuses.items() if status >= REDIRECTED
        )

    def quantile_ms(self, q: float) -> float:
        return quantile(self.latencies, q) * 1000

    def summary(self) -> dict[str, object]:
        """What is kept of it in a result file."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "statuses": dict(self.statuses),
            "unanswered": self.unanswered,
            "latency_us": histogram(self.latencies),
            "service_us": histogram(self.service_times),
            "lateness_us": histogram(self.lateness),
        }


@dataclass(frozen=True)
class Outcome:
    use: Use
    tallies: dict[str, Tally]

    def cpu_us(self, watched: str, stream: str) -> float:
        """CPU that a watched process spent for each answer."""
        return self.use.cpu_s[watched] / self.tallies[stream].answered * 1e6

    def summary(self) -> dict[str, object]:
        return {
            "use": vars(self.use),
            "streams": [tally.summary() for tally in self.tallies.values()],
        }


class Generator:
    """The other process. `begin` lets the caller do something else meanwhile."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    @classmethod
    @contextmanager
    def start(cls) -> Iterator["Generator"]:
        spawned = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawned, initializer=_settle_in) as pool:
            yield cls(pool)

    def begin(
        self,
        *streams: Stream,
        seconds: float,
        warm_s: float = 0.5,
        watched: Mapping[str, int] = {},
    ) -> "Future[Outcome]":
        return self._pool.submit(_fire, streams, seconds, warm_s, dict(watched))

    def fire(
        self,
        *streams: Stream,
        seconds: float,
        warm_s: float = 0.5,
        watched: Mapping[str, int] = {},
    ) -> Outcome:
        return self.begin(*streams, seconds=seconds, warm_s=warm_s, watched=watched).result()


def quantile(values: Sequence[float], q: float) -> float:
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def histogram(seconds: Sequence[float]) -> dict[str, int]:
    """How many took at most so many microseconds, and more than the bound before."""
    counted = Counter(ceil(log(max(value * 1e6, 1), BUCKET)) for value in seconds)
    return {f"{BUCKET**step:.0f}": counted[step] for step in sorted(counted)}


def _settle_in() -> None:
    os.sched_setaffinity(0, {LOAD_CORE})
    gc.collect()
    gc.freeze()
    gc.disable()


def _fire(
    streams: Sequence[Stream], seconds: float, warm_s: float, watched: Mapping[str, int]
) -> Outcome:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(streams, seconds, warm_s, watched))


async def _run(
    streams: Sequence[Stream], seconds: float, warm_s: float, watched: Mapping[str, int]
) -> Outcome:
    runs = [(_Open if stream.rate else _Closed)(stream) for stream in streams]
    for run in runs:
        await run.connect()
    for run in runs:
        run.begin(warm_s + seconds)
    if warm_s:  # otherwise the first answers would come before anybody counts
        await asyncio.sleep(warm_s)
    before = Moment.now(watched)
    for run in runs:
        run.measure()
    await asyncio.wait([asyncio.create_task(_all_over(runs))], timeout=seconds)
    use = Moment.now(watched).since(before)
    for run in runs:
        await run.end(use.seconds)
    return Outcome(use, {run.stream.name: run.tally for run in runs})


async def _all_over(runs: Sequence["_Run"]) -> None:
    for run in runs:
        await run.over.wait()


class _Run:
    """One stream under way."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.tally = Tally(stream.name)
        self.over = asyncio.Event()  # only a stream with `most` is over before its time
        self.connections: list[_Connection] = []

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for requests in self.stream.connections:
            connection = _Connection(self, requests)
            await loop.create_connection(partial(_itself, connection), HOST, self.stream.port)
            self.connections.append(connection)

    def begin(self, seconds: float) -> None:
        raise NotImplementedError

    def measure(self) -> None:
        """What is answered from now on counts."""
        self.tally = Tally(self.stream.name)

    def answered(self, connection: "_Connection", status: int, now: float) -> None:
        tally = self.tally
        tally.statuses[status] += 1
        tally.latencies.append(now - connection.due)
        if self.stream.most is not None and tally.answered >= self.stream.most:
            self.over.set()

    def lost(self) -> None:
        """The server hung up on a connection: it asks no more."""
        self.tally.unanswered += 1

    async def end(self, seconds: float) -> None:
        self.tally.seconds = seconds
        for connection in self.connections:
            connection.leave()


class _Closed(_Run):
    def begin(self, _: float) -> None:
        for connection in self.connections:
            connection.ask(perf_counter())

    def answered(self, connection: "_Connection", status: int, now: float) -> None:
        super().answered(connection, status, now)
        if not self.over.is_set():
            connection.ask(now)


class _Open(_Run):
    """Arrivals do not wait for each other: who finds every connection taken waits, and is timed."""

    def begin(self, seconds: float) -> None:
        self._free = deque(self.connections)
        self._waiting: deque[float] = deque()
        self._random = random.Random(SEED)
        self._alarm = Alarm(self._arrive)
        self._due = perf_counter()
        self._last = self._due + seconds
        self._measured_from = self._last
        self._arrive()

    def measure(self) -> None:
        super().measure()
        self._measured_from = perf_counter()

    def answered(self, connection: "_Connection", status: int, now: float) -> None:
        if connection.due >= self._measured_from:
            super().answered(connection, status, now)
            self.tally.service_times.append(now - connection.sent)
        if self._waiting:
            connection.ask(self._waiting.popleft())
        else:
            self._free.append(connection)

    async def end(self, seconds: float) -> None:
        """Whoever is still not answered after a while counts as having waited until then."""
        self._arrive()  # what became due while this process stood still
        give_up_at = perf_counter() + LAST_ANSWERS_S
        while len(self._free) < len(self.connections) and perf_counter() < give_up_at:  # noqa: ASYNC110 - an event would cost every answer something
            await asyncio.sleep(0.01)
        self._alarm.close()
        unanswered = [*self._waiting, *(each.due for each in self.connections if each.waits)]
        self.tally.unanswered = len(unanswered)
        self.tally.latencies += [perf_counter() - due for due in unanswered]
        await super().end(seconds)

    def _arrive(self) -> None:
        now = perf_counter()
        while self._due <= now and self._due < self._last:
            if self._due >= self._measured_from:
                self.tally.lateness.append(now - self._due)
            if self._free:
                self._free.popleft().ask(self._due)
            else:
                self._waiting.append(self._due)
            self._due += self._random.expovariate(self.stream.rate or 1)
        if self._due < self._last:
            self._alarm.set(self._due)


class _Connection(asyncio.Protocol):
    """One request at a time. Parses no more of an answer than its status and its length."""

    def __init__(self, run: _Run, requests: Sequence[bytes]) -> None:
        self.run = run
        self.waits = False
        self.due = self.sent = 0.0
        self._requests = cycle(requests)
        self._received = b""
        self._leaving = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # TCP's is one that writes

    def ask(self, due: float) -> None:
        self.due = due
        self.sent = perf_counter()
        self.waits = True
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        head_ends = data.find(b"\r\n\r\n")
        if head_ends < 0:
            self._received = data
            return
        body_begins = head_ends + 4
        if len(data) < body_begins + _length(data[:head_ends]):
            self._received = data
            return
        now = perf_counter()
        self._received = b""
        self.waits = False
        status = int(data[9:12])
        if self.run.stream.follow and status == OK:
            self._requests = cycle([self.run.stream.follow(data[body_begins:])])
        self.run.answered(self, status, now)

    def connection_lost(self, _: Exception | None) -> None:
        if not self._leaving:
            self.run.lost()

    def leave(self) -> None:
        self._leaving = True
        self._transport.close()


def _itself(connection: _Connection) -> _Connection:
    return connection


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    if at < 0:
        return 0
    return int(head[at + 15 :].split(b"\r", 1)[0])


def get(path: str, token: str = "", *headers: str) -> bytes:
    return _request("GET", path, token, b"", headers)


def post(path: str, body: bytes, token: str = "", *headers: str) -> bytes:
    return _request("POST", path, token, body, headers)


def _request(
    method: str, path: str, token: str, body: bytes = b"", headers: Sequence[str] = ()
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
