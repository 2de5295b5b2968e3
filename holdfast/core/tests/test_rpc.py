"""Methods over gRPC as their callers find them: failures, deadlines, health, and what is cut or ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.types import Scope

from holdfast.core.errors import BusyError, InvalidError, ProblemError, UnauthenticatedError
from holdfast.core.rpc import channel, server
from holdfast.core.rpc.channel import CallError, Channel, connected
from holdfast.core.telemetry import logs
from holdfast.core.tests.house import WHO_AM_I, House
from holdfast.core.web import DegradedError
from holdfast.stubs.identity.v1.access_pb2 import WhoAmIRequest, WhoAmIResponse

SHORTLY_S = 30


@pytest.fixture
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is given up, however slow this machine is."""
    monkeypatch.setattr(channel, "CONNECT_WITHIN_S", SHORTLY_S)
    monkeypatch.setattr(channel, "PONG_WITHIN_S", SHORTLY_S)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    async with house.open():
        yield house


@pytest.fixture
async def to_house(house: House, patient_clients: None) -> AsyncIterator[Channel]:
    async with connected(house.url, largest_answer=10_000) as opened:
        yield opened


async def ask(to_house: Channel, within_s: float = SHORTLY_S, **metadata: str) -> WhoAmIResponse:
    method = to_house.method(WHO_AM_I, WhoAmIResponse)
    return await method(WhoAmIRequest(), within_s=within_s, metadata=tuple(metadata.items()))


async def status_of(to_house: Channel, within_s: float = SHORTLY_S) -> str:
    try:
        await ask(to_house, within_s)
    except CallError as error:
        return error.status
    return "OK"


async def refusal_of(house: House, method: str, body: bytes) -> grpc.aio.AioRpcError:
    """What a stranger is told who sends these bytes."""
    async with grpc.aio.insecure_channel(house.url.removeprefix("grpc://")) as stranger:
        send: Any = stranger.unary_unary(f"/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await send(body)
    return refused.value


async def test_a_call_carries_who_asks_and_for_which_request(
    house: House, to_house: Channel
) -> None:
    told: list[Any] = []

    async def answer(scope: Scope) -> WhoAmIResponse:
        told.append((scope["client"][0], logs.request_id(), logs.trace_id()))
        told.append(dict(scope["headers"])[b"authorization"])
        return WhoAmIResponse(id="you", permissions=["a"])

    house.answer = answer
    trace = f"00-{'a' * 32}-{'b' * 16}-01".encode()
    for headers in (
        [(b"x-request-id", b"order-7"), (b"traceparent", trace), (b"cookie", b"no")],
        [(b"x-request-id", b"\xff"), (b"traceparent", b"\xff\n")],  # from somebody who means ill
    ):
        request = logs.request.set({"type": "http", "headers": headers})
        assert (await ask(to_house, authorization="Bearer me")).permissions == ["a"]
        told.append(logs.request_id())
        logs.request.reset(request)
    good, ill = told[:3], told[3:]
    assert good == [("127.0.0.1", "order-7", "a" * 32), b"Bearer me", "order-7"]
    assert ill == [("127.0.0.1", ill[2], None), b"Bearer me", ill[2]]


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (UnauthenticatedError(), "UNAUTHENTICATED"),
        (InvalidError(("ids", "한국어")), "INVALID_ARGUMENT"),
        (BusyError(retry_after_s=3), "UNAVAILABLE"),
        (ProblemError(), "INTERNAL"),
        (KeyError("a secret"), "INTERNAL"),
    ],
    ids=repr,
)
async def test_a_problem_is_a_status_and_goes_along(
    house: House, raised: Exception, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(scope: Scope) -> WhoAmIResponse:
        raise raised

    house.answer = answer
    counted = server.DONE.of(WHO_AM_I, status)
    before = counted.value
    refused = await refusal_of(house, WHO_AM_I, b"")
    assert refused.code().name == status
    problem = raised if isinstance(raised, ProblemError) else ProblemError()
    told: dict[str, Any] = dict(refused.trailing_metadata())
    assert json.loads(told[server.PROBLEM]) == problem.problem
    assert {name: told[name.lower()] for name in problem.headers} == problem.headers
    async with asyncio.timeout(SHORTLY_S):
        while counted.value == before:  # it is counted when the answer has left
            await asyncio.sleep(0.005)
    assert counted.value == before + 1
    assert ("a secret" in caplog.text) == (not isinstance(raised, ProblemError))


async def test_a_deadline_ends_the_call_on_both_sides(house: House, to_house: Channel) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(scope: Scope) -> WhoAmIResponse:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()
        raise AssertionError

    house.answer = answer
    while not begun.is_set():  # a call may be late before it arrives
        assert await status_of(to_house, within_s=0.1) == "DEADLINE_EXCEEDED"
    await asyncio.wait_for(ended.wait(), SHORTLY_S)


async def test_what_cannot_be_read_is_refused(house: House, to_house: Channel) -> None:
    async def answer(scope: Scope) -> WhoAmIResponse:
        return WhoAmIResponse(id="x" * 20_000)

    house.answer = answer
    assert await status_of(to_house) == "RESOURCE_EXHAUSTED"
    calls = house.calls
    for method, body, status in (
        (WHO_AM_I, b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        (WHO_AM_I, b"\x0a" + b"x" * 100_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("holdfast.identity.v1.Access/Become", b"", grpc.StatusCode.UNIMPLEMENTED),
    ):
        assert (await refusal_of(house, method, body)).code() is status
    assert house.calls == calls


async def test_a_client_finds_a_server_that_comes_back() -> None:
    house = House()
    async with connected(house.url, largest_answer=10_000) as to_house:
        assert await status_of(to_house) == "UNAVAILABLE"
        for _ in range(2):
            async with house.open(), asyncio.timeout(SHORTLY_S):
                while await status_of(to_house) != "OK":
                    await asyncio.sleep(0.02)
            assert await status_of(to_house) == "UNAVAILABLE"


class Line:
    """Between a client and a server; it can be cut so that neither is told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.dialled = 0
        self.cut_until = 0  # the calls dialled so far

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        listening = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        async with listening:
            yield f"grpc://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def _connect(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self.dialled += 1
        there, on = await asyncio.open_connection("127.0.0.1", self._port)
        number = self.dialled
        await asyncio.gather(self._carry(number, here, on), self._carry(number, there, back))

    async def _carry(
        self, number: int, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while said := await source.read(65_536):
                if number > self.cut_until:
                    target.write(said)
        target.close()


async def test_a_connection_that_was_cut_without_a_word_is_made_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PING_EVERY_S", 0.3)
    monkeypatch.setattr(channel, "PONG_WITHIN_S", 0.3)
    line = Line(int(house.url.rpartition(":")[2]))
    async with line.open() as url, connected(url, largest_answer=10_000) as to_house:
        for _ in range(2):
            async with asyncio.timeout(SHORTLY_S):
                while await status_of(to_house, within_s=0.2) != "OK":
                    await asyncio.sleep(0.02)
            line.cut_until = line.dialled


async def test_a_client_that_pings_as_it_should_stays_connected(
    monkeypatch: pytest.MonkeyPatch, patient_clients: None
) -> None:
    """Who pings more often than a server wants is sent away; by default it wants 5 minutes."""
    assert channel.PING_EVERY_S > 2 * server.PINGS_APART_S
    monkeypatch.setattr(channel, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(server, "PINGS_APART_S", 0.01)
    house = House()
    line = Line(int(house.url.rpartition(":")[2]))
    async with (
        house.open(),
        line.open() as url,
        connected(url, largest_answer=10_000) as to_house,
    ):
        assert await status_of(to_house) == "OK"
        await asyncio.sleep(0.5)
        assert await status_of(to_house) == "OK"
    assert line.dialled == 1


async def test_no_call_fails_because_a_connection_has_had_its_time(
    monkeypatch: pytest.MonkeyPatch, patient_clients: None
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_LIVE_S", 0.1)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # is not asked for this
    house = House()
    line = Line(int(house.url.rpartition(":")[2]))
    async with (
        house.open(),
        line.open() as url,
        connected(url, largest_answer=10_000) as to_house,
        asyncio.timeout(SHORTLY_S),
    ):
        while line.dialled < 4:
            answered = await asyncio.gather(*(status_of(to_house) for _ in range(8)))
            assert set(answered) == {"OK"}


async def test_two_processes_share_a_port(patient_clients: None) -> None:
    house = House()
    async with house.open(), connected(house.url, largest_answer=10_000) as to_house:
        other = House(house.url)
        async with other.open(), asyncio.timeout(SHORTLY_S):
            while not (house.calls and other.calls):
                async with connected(house.url, largest_answer=10_000) as another:
                    assert await status_of(another) == "OK"
        assert await status_of(to_house) == "OK"


async def test_running_calls_are_answered_at_the_end_and_new_ones_go_elsewhere(
    patient_clients: None,
) -> None:
    house, go_on = House(), asyncio.Event()

    async def answer(scope: Scope) -> WhoAmIResponse:
        await go_on.wait()
        return WhoAmIResponse(id="late")

    async with connected(house.url, largest_answer=10_000) as to_house:
        opened = house.open(drain_s=2 * SHORTLY_S)
        await opened.__aenter__()
        assert await status_of(to_house) == "OK"
        house.answer = answer
        running = asyncio.create_task(ask(to_house, within_s=2 * SHORTLY_S))
        while house.calls < 2:
            await asyncio.sleep(0.005)
        async with grpc.aio.insecure_channel(house.url.removeprefix("grpc://")) as raw:
            watch = health_pb2_grpc.HealthStub(raw).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            ending = asyncio.create_task(opened.__aexit__(None, None, None))
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await watch.read() is grpc.aio.EOF
            async with asyncio.timeout(SHORTLY_S):
                while await status_of(to_house) != "UNAVAILABLE":
                    await asyncio.sleep(0.01)
            assert not ending.done()
            go_on.set()
            assert (await running).id == "late"
            await asyncio.wait_for(ending, SHORTLY_S)


async def test_health_tells_whether_the_service_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_AGAIN_S", 0.01)
    house = House()
    async with house.open(), grpc.aio.insecure_channel(house.url.removeprefix("grpc://")) as raw:
        health = health_pb2_grpc.HealthStub(raw)

        async def until(status: int, name: str = "") -> None:
            async with asyncio.timeout(SHORTLY_S):
                asked = health_pb2.HealthCheckRequest(service=name)
                while (await health.Check(asked)).status != status:
                    await asyncio.sleep(0.01)

        await until(health_pb2.HealthCheckResponse.SERVING)
        house.ill = OSError("no database")
        await until(health_pb2.HealthCheckResponse.NOT_SERVING, "holdfast.identity.v1.Access")
        house.ill = DegradedError("no Redis")
        await until(health_pb2.HealthCheckResponse.SERVING)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
