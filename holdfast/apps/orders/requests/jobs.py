"""Requests are decided about one batch after the other, as long as somebody waits.

Nobody wakes this process: to look twenty times a second costs about two hundredths of a core, its
own and PostgreSQL's, and whoever stores a request need not tell anybody.
"""

import asyncio
import logging
from uuid import UUID

from holdfast.apps.orders.gauges import requests_decided
from holdfast.apps.orders.requests.actions import NOTHING, decide_requests
from holdfast.apps.orders.resources import Orders
from holdfast.core.errors import BusyError

IDLE_S = 0.05
AWAY_S = 0.5
log = logging.getLogger(__name__)


async def decide_for_ever(here: Orders) -> None:
    """Any number of processes may: one of them is at work, another when that one has gone."""
    aside: set[UUID] = set()
    while True:
        turn = NOTHING
        try:
            turn = await decide_requests(here, aside)
        except BusyError as error:
            log.warning("Requests wait: %r", error)
            await asyncio.sleep(AWAY_S)
        for outcome, number in turn.outcomes.items():
            requests_decided.of(outcome).add(number)
        if turn.aside:
            aside |= turn.aside  # there may be others behind them
        else:
            aside.clear()
            await asyncio.sleep(0 if turn.outcomes else IDLE_S)
