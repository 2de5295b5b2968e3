"""Events from orders' outbox to the catalog: how fast they leave, and how fast they are applied.

Claim: either broker keeps up with the sale, so that which one to take is no question of speed.
Target: 8,000 events/s relayed and applied, as many as orders that a worker takes, by either broker.
What bounds it: one relay and one consumer, one after the other, each with 500 events a transaction.

Events are `stock.changed` of a hundred offers, waiting in the outbox. Then one relay sends all of
them, and one consumer applies all of them with the catalog's own handler. Kafka is one node, and is
left out where there is no Java.
"""

import random
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import uvloop

from holdfast.apps.catalog.availability.actions import keep_availability
from holdfast.cli.servers import free_port, running
from holdfast.core import broker, manifest
from holdfast.core.db import Address, Database
from holdfast.core.outbox.relay import relay
from holdfast.core.settings import Settings
from holdfast.core.streams import Consumer
from holdfast.core.tests.kafka import kafka, why_not
from lab.machine import LOAD_CORE, Moment, Use, on
from lab.result import Lab, Result, Target
from lab.servers import execute

EVENTS, OFFERS, ROUNDS = 20_000, 100, 3
WANTED = 8_000
RELAYED, APPLIED = "relayed", "applied"
FILL = """
INSERT INTO orders.outbox (type, payload)
SELECT 'stock.changed', jsonb_build_object('offer_id', md5((n % {offers})::text)::uuid,
  'remaining', n, 'held', 0, 'sold', 0, 'changes', n)
FROM generate_series(1, {events}) n
"""


@dataclass(frozen=True)
class Run:
    seconds: float
    own_cpu_s: float
    use: Use

    @property
    def rate(self) -> float:
        return EVENTS / self.seconds


Found = Mapping[tuple[str, str], list[Run]]


def measure(lab: Lab) -> Result:
    found: dict[tuple[str, str], list[Run]] = defaultdict(list)
    shuffled = random.Random(1)
    with ExitStack() as stack:
        brokers = {"Redis Streams": {}, **stack.enter_context(_kafka())}
        stack.enter_context(on(LOAD_CORE))
        for number in range(ROUNDS):
            for name in shuffled.sample(list(brokers), len(brokers)):
                with lab.stack.database("orders", "catalog") as environ:
                    runs = uvloop.run(_round(lab, {**environ, **brokers[name]}, f"events:{number}"))
                for what, run in runs.items():
                    found[name, what].append(run)
                    lab.say(f"round {number + 1}/{ROUNDS}  {name}, {what}: {run.rate:,.0f}/s")
    runs_of_all = [run for some in found.values() for run in some]
    return Result(
        columns=("broker", "events", "events/s", "lowest", "highest", *_COSTS),
        rows=[_row(key, found[key]) for key in found],
        targets=[_target(key, found[key]) for key in found],
        others=median(run.use.others for run in runs_of_all),
        notes=[
            f"{ROUNDS} rounds of {EVENTS:,} events, in random order.",
            *filter(None, [why_not()]),
        ],
        raw={
            ", ".join(key): [{"seconds": run.seconds, "use": vars(run.use)} for run in some]
            for key, some in found.items()
        },
    )


_COSTS = ("own CPU us", "PostgreSQL CPU us")


@contextmanager
def _kafka() -> Iterator[dict[str, dict[str, str]]]:
    if why_not():
        yield {}
        return
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-kafka-") as folder,
        running(kafka(Path(folder), free_port())) as server,
    ):
        yield {"Kafka": {"HOLDFAST_EVENTS_URL": server.server.url}}


async def _round(lab: Lab, environ: Mapping[str, str], stream: str) -> dict[str, Run]:
    await execute(environ["DATABASE_URL"], FILL.format(offers=OFFERS, events=EVENTS))
    await execute(environ["DATABASE_URL"], "ANALYZE orders.outbox")
    async with (
        broker.connect(Settings.load(environ)) as events,
        _database(environ, "orders") as orders,
        _database(environ, "catalog") as catalog,
    ):
        sink = events.sink(stream)
        handlers = {"stock.changed": keep_availability}
        consumer = Consumer(catalog, events.source(stream), handlers)
        await sink.begin()  # and connect
        async with _measured(lab) as relayed:
            while await relay(orders, sink):
                pass
        async with _measured(lab) as applied:
            while await consumer.consume():
                pass
        count = await catalog.fetchval("SELECT count(*) FROM inbox")
        if count != EVENTS:
            raise AssertionError(f"{count:,} of {EVENTS:,} events were applied.")
    return {RELAYED: relayed[0], APPLIED: applied[0]}


@asynccontextmanager
async def _database(environ: Mapping[str, str], name: str) -> AsyncIterator[Database]:
    app = manifest.find(name)
    address = Address(environ["DATABASE_URL"], app.role, app.schema)
    async with Database.open(address, least=1, most=2) as db:
        yield db


@asynccontextmanager
async def _measured(lab: Lab) -> AsyncIterator[list[Run]]:
    runs: list[Run] = []
    before, own, began = Moment.now(lab.stack.watched), process_time(), perf_counter()
    yield runs
    seconds = perf_counter() - began
    runs.append(Run(seconds, process_time() - own, Moment.now(lab.stack.watched).since(before)))


def _row(key: tuple[str, str], runs: list[Run]) -> list[str]:
    rates = [run.rate for run in runs]
    return [
        *key,
        *(f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))),
        f"{median(run.own_cpu_s for run in runs) / EVENTS * 1e6:.0f}",
        f"{median(run.use.cpu_s['postgres'] for run in runs) / EVENTS * 1e6:.0f}",
    ]


def _target(key: tuple[str, str], runs: list[Run]) -> Target:
    name, what = key
    rate = median(run.rate for run in runs)
    return Target(f"events {what}, {name}", f"{WANTED:,}/s", f"{rate:,.0f}/s", rate >= WANTED)
