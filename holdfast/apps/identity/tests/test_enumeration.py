"""Nobody learns from an answer, or from its time, who has an account.

Times are compared in pairs, a known and an unknown address one right after the other. Wilcoxon's
signed-rank test says how likely their differences would be if there was none. It is asked the same
of the very same times with a tenth added to one side: only a test that would find that has found
nothing, so pairs are measured until it would. A noisy machine takes more of them.
"""

from collections.abc import Awaitable, Callable, Sequence
from math import sqrt
from random import sample
from statistics import NormalDist, median
from time import perf_counter

import asyncpg
import pytest
from argon2 import PasswordHasher

from holdfast.apps.identity.tests.api import PASSWORD, Answer, Api

Attempt = Callable[[Api, str], Awaitable[Answer]]

LEAST_PAIRS, MOST_PAIRS = 30, 600
NOT_BY_CHANCE = NormalDist().inv_cdf(1 - 1e-4 / 2)


async def login(api: Api, email: str) -> Answer:
    return await api.login(email, "a wrong password")


async def register(api: Api, email: str) -> Answer:
    body = {"email": email, "password": PASSWORD}
    return await api.call("POST", "/api/v1/auth/register", body)


async def request_reset(api: Api, email: str) -> Answer:
    return await api.call("POST", "/api/v1/auth/reset", {"email": email})


STATUS: dict[Attempt, int] = {login: 401, register: 201, request_reset: 202}


def lopsided(differences: Sequence[float]) -> float:
    """Wilcoxon's signed ranks as a standard normal deviate: far from 0, one side takes longer."""
    ranked = sorted(differences, key=abs)
    positive = sum(rank for rank, difference in enumerate(ranked, 1) if difference > 0)
    n = len(ranked)
    return (positive - n * (n + 1) / 4) / sqrt(n * (n + 1) * (2 * n + 1) / 24)


async def known_addresses(db: asyncpg.Connection) -> list[str]:
    emails = [f"known{number}@example.com" for number in range(MOST_PAIRS)]
    stored = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)
    await db.execute(
        "WITH made AS (INSERT INTO users (email) SELECT unnest($1::text[]) RETURNING id)"
        " INSERT INTO credentials (user_id, password_hash) SELECT id, $2 FROM made",
        emails,
        stored,
    )
    return emails


async def compare(api: Api, attempt: Attempt, known: str, unknown: str) -> dict[str, float]:
    """How long each took, in an order by chance; what was answered is the same."""
    took, answers = {}, {}
    for email in sample((known, unknown), 2):
        began = perf_counter()
        answers[email] = await attempt(api, email)
        took[email] = perf_counter() - began
    assert answers[known].status == answers[unknown].status == STATUS[attempt]
    assert answers[known].headers.keys() == answers[unknown].headers.keys()
    told = str(answers[known].body).replace(known, unknown)
    assert told == str(answers[unknown].body)
    return took


@pytest.mark.timeout(300)
@pytest.mark.parametrize("attempt", STATUS)
async def test_known_and_unknown_accounts_take_the_same_time(
    api: Api, db: asyncpg.Connection, attempt: Attempt
) -> None:
    differences, usual = [], []
    for known in await known_addresses(db):
        unknown = known.replace("known", "nobody")
        took = await compare(api, attempt, known, unknown)
        differences.append(took[known] - took[unknown])
        usual.append(took[unknown])
        a_tenth = median(usual) / 10
        slower, faster = (
            lopsided([difference + added for difference in differences])
            for added in (a_tenth, -a_tenth)
        )
        if len(usual) >= LEAST_PAIRS and slower > NOT_BY_CHANCE and faster < -NOT_BY_CHANCE:
            break
    else:
        pytest.fail("This machine is too noisy to find even a difference of a tenth.")
    assert abs(lopsided(differences)) < NOT_BY_CHANCE, median(differences) / median(usual)


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
