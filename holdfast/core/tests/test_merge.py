import asyncio
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import BusyError
from holdfast.core.merge import Merge, by_key


class Gate:
    """A run that notes its batches and returns when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()

    async def run(self, items: list[int]) -> Sequence[str]:
        self.batches.append(items)
        await self.open.wait()
        if any(item < 0 for item in items):
            raise ValueError(f"poison in {items}")
        return [f"answer {item}" for item in items]


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_waiting_calls_become_one_run_and_each_gets_its_own_answer() -> None:
    gate = Gate()
    merge = Merge(gate.run, name="test")
    first = asyncio.create_task(merge(0))
    await turns()
    assert gate.batches == [[0]], "with nothing in flight a call starts at once"
    others = [asyncio.create_task(merge(item)) for item in range(1, 6)]
    await turns()
    assert merge.queued == 5
    gate.open.set()
    assert await asyncio.gather(first, *others) == [f"answer {item}" for item in range(6)]
    assert gate.batches == [[0], [1, 2, 3, 4, 5]]


async def test_at_most_so_many_a_run_in_the_order_of_arrival() -> None:
    gate = Gate()
    gate.open.set()
    merge = Merge(gate.run, name="test", most=2)
    await asyncio.gather(*(merge(item) for item in range(5)))
    assert gate.batches == [[0, 1], [2, 3], [4]]


async def test_the_next_run_begins_before_everybody_has_heard_of_the_last() -> None:
    heard: list[int] = []
    heard_at_start: list[int] = []
    second_ends = asyncio.Event()

    async def run(items: list[int]) -> list[int]:
        heard_at_start.append(len(heard))
        if items[0]:
            await second_ends.wait()
        return items

    async def call(item: int) -> None:
        heard.append(await merge(item))

    merge = Merge(run, name="test", most=100)
    calls = [asyncio.create_task(call(item)) for item in range(200)]
    await turns(5)
    assert heard_at_start == [0, 0]
    assert 0 < len(heard) < 50, "the loop has other things to do meanwhile"
    await turns(100)
    assert heard == list(range(100)), "nobody waits for the next run"
    second_ends.set()
    await turns()
    assert len(heard) == 200, "with nobody waiting everybody hears at once"
    await asyncio.gather(*calls)


async def test_a_full_queue_refuses() -> None:
    gate = Gate()
    merge = Merge(gate.run, name="test", queue=2)
    admitted = [asyncio.create_task(merge(0))]
    await turns()
    admitted += [asyncio.create_task(merge(item)) for item in (1, 2)]
    await turns()
    with pytest.raises(BusyError):
        await merge(3)
    gate.open.set()
    assert len(await asyncio.gather(*admitted)) == 3


async def test_a_poisonous_item_fails_alone_with_its_own_exception() -> None:
    gate = Gate()
    gate.open.set()
    merge = Merge(gate.run, name="test")
    answers = await asyncio.gather(merge(1), merge(-2), merge(3), return_exceptions=True)
    assert [answers[0], answers[2]] == ["answer 1", "answer 3"]
    assert str(answers[1]) == "poison in [-2]"
    assert gate.batches == [[1, -2, 3], [1], [-2], [3]]


async def test_a_run_that_answers_too_few_fails_its_callers() -> None:
    async def run(items: list[int]) -> list[int]:
        return []

    merge = Merge(run, name="short")
    with pytest.raises(ValueError, match="short: 1 items, 0 answers"):
        await merge(1)


async def test_a_cancelled_caller_not_yet_taken_is_withdrawn() -> None:
    gate = Gate()
    merge = Merge(gate.run, name="test")
    first = asyncio.create_task(merge(0))
    await turns()
    withdrawn = asyncio.create_task(merge(1))
    stays = asyncio.create_task(merge(2))
    await turns()
    withdrawn.cancel()
    await turns()
    assert merge.queued == 1, "a withdrawn call frees its place in the queue"
    gate.open.set()
    assert [await first, await stays] == ["answer 0", "answer 2"]
    assert gate.batches == [[0], [2]]


async def test_a_cancelled_caller_already_taken_disturbs_nobody() -> None:
    gate = Gate()
    merge = Merge(gate.run, name="test")
    taken = [asyncio.create_task(merge(item)) for item in range(3)]
    await turns()
    taken[1].cancel()
    await turns()
    gate.open.set()
    answers = await asyncio.gather(*taken, return_exceptions=True)
    assert [answers[0], answers[2]] == ["answer 0", "answer 2"]
    assert isinstance(answers[1], asyncio.CancelledError)


async def test_aclose_finishes_what_is_queued_and_refuses_what_is_new() -> None:
    gate = Gate()
    merge = Merge(gate.run, name="test", most=1)
    admitted = [asyncio.create_task(merge(item)) for item in range(3)]
    await turns()
    closing = asyncio.create_task(merge.aclose())
    await turns()
    with pytest.raises(BusyError):
        await merge(9)
    assert not closing.done()
    gate.open.set()
    await closing
    assert [task.done() for task in admitted] == [True, True, True]
    await merge.aclose()


async def test_a_run_sees_no_callers_context() -> None:
    request: ContextVar[str] = ContextVar("request", default="nobody's")

    async def run(items: list[int]) -> list[str]:
        return [request.get() for _ in items]

    request.set("mine")
    assert await Merge(run, name="test")(1) == "nobody's"


async def test_a_run_cancelled_from_outside_leaves_no_caller_waiting() -> None:
    async def run(items: list[int]) -> list[int]:
        raise asyncio.CancelledError

    merge = Merge(run, name="test")
    for _ in range(2):
        answers = await asyncio.gather(merge(1), merge(2), return_exceptions=True)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2


async def test_merged_reads_share_a_key_and_answer_none_for_what_is_missing() -> None:
    asked: list[list[str]] = []

    async def select(keys: list[str]) -> dict[str, int]:
        asked.append(keys)
        return {"a": 1, "b": 2}

    merge = Merge(by_key(select), name="test")
    assert await asyncio.gather(*map(merge, ["b", "a", "b", "c"])) == [2, 1, 2, None]
    assert asked == [["b", "a", "c"]]


@dataclass
class Caller:
    item: int
    turn: int
    leaves: bool

    def judge(self, answer: int | BaseException) -> None:
        if isinstance(answer, asyncio.CancelledError):
            assert self.leaves
        elif self.item < 0:
            assert isinstance(answer, ValueError)
            assert answer.args == ([self.item],)
        else:
            assert answer == self.item * 2


callers = st.builds(Caller, st.integers(-9, 99), st.integers(0, 6), st.booleans())


async def answers_of(arrivals: list[Caller], merge: Merge[int, int]) -> list[int | BaseException]:
    """Callers come at any turn of the loop, some bring poison, some leave before the answer."""

    async def call(caller: Caller) -> int:
        await turns(caller.turn)
        return await merge(caller.item)

    tasks = [asyncio.create_task(call(caller)) for caller in arrivals]
    await turns(4)
    for task, caller in zip(tasks, arrivals, strict=True):
        if caller.leaves:
            task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@given(st.lists(callers, max_size=40), st.integers(1, 5))
def test_whatever_the_arrivals_everyone_gets_their_own_answer(
    arrivals: list[Caller], most: int
) -> None:
    had_effect: list[int] = []

    async def run(items: list[int]) -> list[int]:
        assert len(items) <= most
        await turns(2)
        if min(items) < 0:
            raise ValueError(items)
        had_effect.extend(items)
        return [item * 2 for item in items]

    answers = asyncio.run(answers_of(arrivals, Merge(run, name="test", most=most)))
    for caller, answer in zip(arrivals, answers, strict=True):
        caller.judge(answer)
    answered = Counter(answer // 2 for answer in answers if isinstance(answer, int))
    assert answered <= Counter(had_effect), "an answer without its effect"
