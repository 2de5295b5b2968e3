"""`holdfast deals rush`: a sale to which everybody comes at once, and the proof that it was just.

It shows what is promised, on the machine where it is asked, in one minute; its times are those of a
client on the same cores as the service. What the service can do is measured in the lab.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex, token_urlsafe
from time import perf_counter
from typing import TypeVar

import aiohttp
import click
import uvloop

from holdfast.apps.identity.seed import DEMO_ACCOUNTS
from holdfast.cli.deals.house import own_house
from holdfast.cli.deals.proof import Answer, Sale, faults, proof
from holdfast.cli.deals.shop import Shop

SOCKETS = 256
IDLE_S = 2  # servers close after five: what is sent at that moment is lost, and a deal is made once
HASHED_TOGETHER = 16  # passwords: more at once would only wait, and be refused for it
OPENS_IN_S = 3
PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True)
class Plan:
    buyers: int
    stock: int
    url: str | None
    admin_email: str | None
    admin_password: str | None


def rush(plan: Plan) -> int:
    """Hold the sale and tell how it was; the exit status."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return tell(runner.run(_hold(plan)))


def tell(sale: Sale) -> int:
    """The last line, which alone is on stdout; the exit status."""
    found = faults(sale)
    click.echo(f"PROOF FAILED: {'; '.join(found)}" if found else f"PROOF ok: {proof(sale)}")
    return int(bool(found))


async def _hold(plan: Plan) -> Sale:
    async with _house(plan.url) as url, _http() as http:
        shop = Shop(url, http)
        await shop.permit_writing(await _sign_in(shop, plan))  # who may not should know it at once
        tokens = await _sign_up(shop, plan.buyers)
        admin = await _sign_in(shop, plan)  # again: after thousands of buyers the first is over
        product_id = await shop.create_product(admin, plan.stock)
        deal_id = await shop.create_deal(admin, product_id, plan.stock, OPENS_IN_S)
        _say(f"The deal {deal_id} opens in {OPENS_IN_S} s.")
        await asyncio.sleep(await shop.opens_in_s(deal_id))
        answers = await _buy(shop, deal_id, tokens)
        _say("The list of winners and the ledger are read.")
        return Sale(plan.stock, answers, await shop.winners(deal_id), await shop.ledger(deal_id))


@asynccontextmanager
async def _house(url: str | None) -> AsyncIterator[str]:
    if url:
        yield url.rstrip("/")
        return
    _say("A house is started for this sale.")
    async with own_house() as started:
        yield started


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=SOCKETS, keepalive_timeout=IDLE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=PATIENCE,
    )


async def _sign_in(shop: Shop, plan: Plan) -> str:
    demo = DEMO_ACCOUNTS[0]
    return await shop.sign_in(plan.admin_email or demo.email, plan.admin_password or demo.password)


async def _sign_up(shop: Shop, buyers: int) -> Sequence[str]:
    """Everybody's access token. First all register: a token must not end before the sale begins."""
    sale, password = token_hex(4), token_urlsafe()
    emails = [f"buyer{number + 1}.{sale}@rush.example" for number in range(buyers)]
    await _each(emails, lambda email: shop.register(email, password), "Opening accounts")
    return await _each(emails, lambda email: shop.sign_in(email, password), "Signing in")


async def _buy(shop: Shop, deal_id: str, tokens: Sequence[str]) -> Sequence[Answer]:
    opened = perf_counter()

    async def buy(token: str) -> Answer:
        told = await shop.order(token, deal_id)
        return Answer(*told, perf_counter() - opened)

    return await _each(tokens, buy, "Ordering", together=SOCKETS)


async def _each(
    given: Sequence[Given],
    do: Callable[[Given], Awaitable[Got]],
    what: str,
    together: int = HASHED_TOGETHER,
) -> Sequence[Got]:
    """For all of them, some at a time, with a bar for whoever watches; the first failure ends it."""
    got: dict[int, Got] = {}
    waiting = iter(enumerate(given))

    async def go_on() -> None:
        for number, item in waiting:
            got[number] = await do(item)
            bar.update(1)

    with click.progressbar(
        length=len(given),
        label=f"{what:17}{len(given):6,}",
        file=sys.stderr,
        update_min_steps=max(1, len(given) // 100),  # to draw costs more than an order
    ) as bar:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(together):
                    tasks.create_task(go_on())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return [got[number] for number in range(len(given))]


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
