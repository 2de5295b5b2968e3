"""`holdfast deals rush`: a just sale is proved, any other is not, and nothing of it stays behind."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.cli.deals.proof import Answer, Ledger, Sale, Winner
from holdfast.cli.deals.rush import tell

SHORTLY_S = 100  # a house is started and ended in it
WON = [Answer(201, "a", 1, 0.01), Answer(201, "b", 2, 0.02)]
LOST = [Answer(409, None, None, 0.03), Answer(409, None, None, 0.05)]
JUST = Sale(
    stock=2,
    answers=[LOST[0], WON[1], WON[0], LOST[1]],
    winners=[Winner("a", 1), Winner("b", 2)],
    ledger=Ledger(initial=2, remaining=0, held=1, sold=1),
)


def test_a_just_sale_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(JUST) == 0
    assert capsys.readouterr().out == (
        "PROOF ok: 2 of 4 buyers won, places 1-2, ledger 2 = 0 + 1 + 1,"
        " 80 orders/s, p50 30.0 ms, p99 50.0 ms\n"
    )


def test_a_sale_with_some_left_is_just(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(replace(JUST, stock=5, answers=WON, ledger=Ledger(5, 3, 2, 0))) == 0
    assert "2 of 2 buyers won, places 1-2, ledger 5 = 3 + 2 + 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"answers": [*JUST.answers, Answer(201, "c", 3, 0.1)]},
            "3 buyers won, and it should be 2",
        ),
        ({"answers": [*WON[:1], *LOST, LOST[0]]}, "1 buyers won, and it should be 2"),
        ({"answers": [*JUST.answers, Answer(500, None, None, 0.1)]}, "1 buyers were answered 500"),
        (
            {"answers": [WON[0], WON[1]._replace(place=1), *LOST]},
            "were told are not 1-2, each once",
        ),
        (
            {"answers": [WON[0], WON[1]._replace(place=3), *LOST]},
            "were told are not 1-2, each once",
        ),
        ({"winners": JUST.winners[::-1]}, "in the list of winners are not 1-2, in order"),
        ({"winners": JUST.winners[:1]}, "1 of those who won are not in the list of winners"),
        ({"winners": [Winner("a", 1), Winner("x", 2)]}, "1 in the list of winners were never told"),
        ({"winners": [Winner("b", 1), Winner("a", 2)]}, "2 of those who won are not in the list"),
        ({"winners": [*JUST.winners, Winner("x", 3)]}, "in the list of winners are not 1-2"),
        ({"ledger": Ledger(2, 1, 1, 1)}, "the ledger does not come out: 2 = 1 + 1 + 1"),
        ({"ledger": Ledger(2, 1, 1, 0)}, "the ledger is of another sale: 2 = 1 + 1 + 0"),
        ({"ledger": Ledger(3, 0, 2, 1)}, "the ledger is of another sale"),
    ],
)
def test_a_sale_that_was_not_just_is_not_proved(
    wrong: dict[str, object], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(replace(JUST, **wrong)) == 1  # type: ignore[arg-type]  # of several fields' types
    told = capsys.readouterr().out
    assert told.startswith("PROOF FAILED: ")
    assert sentence in told


@asynccontextmanager
async def rushing(temporary: Path, *words: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "deals", "rush", *words),
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(SHORTLY_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_it_says(process: Process, sentence: bytes) -> None:
    """Or fails with what it said instead: a pipe that has ended answers for ever and waits for nobody,
    so that the loop would not even hear that the process is gone.
    """
    assert process.stderr
    said = b""
    async for line in process.stderr:
        if sentence in line:
            return
        said += line
    raise AssertionError(said.decode())


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell has what it runs in the background ignore Ctrl-C, and all that is started there too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def test_a_small_rush_is_proved_and_leaves_nothing(tmp_path: Path) -> None:
    async with rushing(tmp_path, "--buyers=30", "--stock=5") as process:
        told, steps = await process.communicate()
    assert process.returncode == 0, steps.decode()
    assert re.fullmatch(
        r"PROOF ok: 5 of 30 buyers won, places 1-5, ledger 5 = 0 \+ 5 \+ 0,"
        r" [\d,]+ orders/s, p50 [\d.]+ ms, p99 [\d.]+ ms\n",
        told.decode(),
    )
    assert not left_in(tmp_path)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_who_stops_a_rush_stops_its_house(tmp_path: Path, number: signal.Signals) -> None:
    async with rushing(tmp_path, "--buyers=20000") as process:
        await until_it_says(process, b"Opening accounts")
        process.send_signal(number)
        assert await process.wait() == {signal.SIGINT: 1, signal.SIGKILL: -9}[number]
        while left_in(tmp_path):  # the house takes its folder along when it has ended
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "words", [["--buyers=0"], ["--buyers=20001"], ["--stock=0"], ["--nobody"], ["--url", "ftp://x"]]
)
async def test_a_wrong_command_line_is_told(tmp_path: Path, words: list[str]) -> None:
    async with rushing(tmp_path, *words) as process:
        told, steps = await process.communicate()
    assert (process.returncode, told) == (2, b"")
    assert steps.startswith(b"Usage: ")
