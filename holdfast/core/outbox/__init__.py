"""The outbox: events that are true because they were committed with the data.

`emit` writes an event in the caller's transaction. `relay` sends what is waiting to the broker (a
Redis Stream or a Kafka topic), at least once and in order of commit as it sees it; consumers know
an event by its id. If the broker comes back empty, what the outbox still keeps (seven days) is sent
again. It is a list of facts, not a queue of work: nobody answers it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.core.db import Executor
from holdfast.core.outbox import queries


async def emit(db: Executor, event: str, *payloads: Mapping[str, Any]) -> None:
    """Note, in this transaction, what happened (`user.registered`), once for each payload."""
    if payloads:
        encoded = [msgspec.json.encode(payload).decode() for payload in payloads]
        await queries.insert_events(db, type=event, payloads=encoded)
