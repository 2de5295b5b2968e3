"""Nobody learns from an answer, or from its time, who has an account.

Times are compared in pairs, a known and an unknown address one right after the other. Wilcoxon's
signed-rank test says how likely their differences would be if there was none. It is asked the same
of the very same times with a tenth added to one side: only a test that would find that has found
nothing, so pairs are measured until it would. A noisy machine takes more of them; and of all pairs
the quicker half counts, for during the others the machine did something else as well.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from math import sqrt
from random import sample
from statistics import NormalDist, median
from time import perf_counter

import asyncpg
import pytest
from argon2 import PasswordHasher

from holdfast.apps.identity.tests.api import PASSWORD, Answer, Api

Attempt = Callable[[Api, str], Awaitable[Answer]]

PAIRS_AT_ONCE, PATIENCE_S = 30, 240
NOT_BY_CHANCE = NormalDist().inv_cdf(1 - 1e-4 / 2)
_numbers = count(1)


async def login(api: Api, email: str) -> Answer:
    return await api.login(email, "a wrong password")


async def register(api: Api, email: str) -> Answer:
    body = {"email": email, "password": PASSWORD}
    return await api.call("POST", "/api/v1/auth/register", body)


async def request_reset(api: Api, email: str) -> Answer:
    return await api.call("POST", "/api/v1/auth/reset", {"email": email})


STATUS: dict[Attempt, int] = {login: 401, register: 201, request_reset: 202}


Pair = tuple[float, float]  # how long a known address took, and an unknown one


def lopsided(pairs: Sequence[Pair]) -> float:
    """Wilcoxon's signed ranks as a standard normal deviate: far from 0, one side takes longer."""
    quick = sorted(pairs, key=max)[: len(pairs) // 2]
    ranked = sorted((known - unknown for known, unknown in quick), key=abs)
    positive = sum(rank for rank, difference in enumerate(ranked, 1) if difference > 0)
    n = len(ranked)
    return (positive - n * (n + 1) / 4) / sqrt(n * (n + 1) * (2 * n + 1) / 24)


def finds_a_tenth(pairs: Sequence[Pair]) -> bool:
    """Whether it would be found on either side."""
    a_tenth = median(unknown for _, unknown in pairs) / 10
    slower = lopsided([(known + a_tenth, unknown) for known, unknown in pairs])
    faster = lopsided([(known - a_tenth, unknown) for known, unknown in pairs])
    return slower > NOT_BY_CHANCE and faster < -NOT_BY_CHANCE


async def known_addresses(db: asyncpg.Connection) -> list[str]:
    """New ones, which nobody has tried yet."""
    emails = [f"known{next(_numbers)}@example.com" for _ in range(PAIRS_AT_ONCE)]
    stored = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)
    await db.execute(
        "WITH made AS (INSERT INTO users (email) SELECT unnest($1::text[]) RETURNING id)"
        " INSERT INTO credentials (user_id, password_hash) SELECT id, $2 FROM made",
        emails,
        stored,
    )
    return emails


async def compare(api: Api, attempt: Attempt, known: str) -> Pair:
    """With an unknown one, in an order by chance; what was answered is the same."""
    unknown = known.replace("known", "nobody")
    took, answers = {}, {}
    for email in sample((known, unknown), 2):
        began = perf_counter()
        answers[email] = await attempt(api, email)
        took[email] = perf_counter() - began
    assert answers[known].status == answers[unknown].status == STATUS[attempt]
    assert answers[known].headers.keys() == answers[unknown].headers.keys()
    told = str(answers[known].body).replace(known, unknown)
    assert told == str(answers[unknown].body)
    return took[known], took[unknown]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("attempt", STATUS)
async def test_known_and_unknown_accounts_take_the_same_time(
    api: Api, db: asyncpg.Connection, attempt: Attempt
) -> None:
    began = perf_counter()
    pairs: list[Pair] = []
    while not (pairs and finds_a_tenth(pairs)):
        if perf_counter() - began > PATIENCE_S:
            pytest.fail("This machine is too noisy to find even a difference of a tenth.")
        pairs += [await compare(api, attempt, known) for known in await known_addresses(db)]
    assert abs(lopsided(pairs)) < NOT_BY_CHANCE, median(known / unknown for known, unknown in pairs)


async def test_known_and_unknown_accounts_leave_the_same_traces(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    for email in (account.email, "nobody@example.com"):
        await login(api, email)
    counted = await db.fetch(
        "SELECT count(*) FROM login_history WHERE outcome <> 'succeeded' GROUP BY account"
    )
    assert [row["count"] for row in counted] == [1, 1]
    assert await db.fetchval("SELECT count(*) FROM login_lanes") == 2
