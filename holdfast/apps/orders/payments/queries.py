"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Own(NamedTuple):
    status: str
    total_krw: int
    in_time: bool


LOCK_ORDER_OF_CUSTOMER = """
SELECT status, total_krw, clock_timestamp() < held_until AS in_time
FROM orders WHERE id = $1 AND customer_id = $2
FOR NO KEY UPDATE
"""


async def lock_order_of_customer(db: Executor, *, order_id: UUID, customer_id: UUID) -> Own | None:
    record = await db.fetchrow(LOCK_ORDER_OF_CUSTOMER, order_id, customer_id)
    return None if record is None else Own(*record)


UPSERT_PAYMENT = """
INSERT INTO payments (order_id, amount_krw, next_try_at)
VALUES ($1, $2, now() + $3::interval)
ON CONFLICT (order_id) WHERE state IN ('asked', 'approved', 'refunding')
DO UPDATE SET next_try_at = excluded.next_try_at
WHERE payments.state = 'asked'
RETURNING id
"""


async def upsert_payment(
    db: Executor, *, order_id: UUID, amount_krw: int, patience: timedelta
) -> UUID | None:
    """The attempt that is open, or else a new one; None while an earlier one is being undone. The jobs
    leave it to whoever asks the provider now, for as long as that may take.
    """
    value: UUID | None = await db.fetchval(UPSERT_PAYMENT, order_id, amount_krw, patience)
    return value


LOCK_ORDER = """
SELECT status FROM orders WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_order(db: Executor, order_id: UUID) -> str:
    """Its offers are locked before it, by everyone."""
    [record] = await db.fetch(LOCK_ORDER, order_id)
    value: str = record[0]
    return value


SELECT_STATE = """
SELECT state FROM payments WHERE id = $1
"""


async def select_state(db: Executor, payment_id: UUID) -> str:
    """To be read after the order is locked: whoever changes it holds that lock."""
    [record] = await db.fetch(SELECT_STATE, payment_id)
    value: str = record[0]
    return value


SELECT_ORDER_FITS = """
SELECT bool_and(
  item.quantity <= offer.remaining
  AND (offer.per_customer IS NULL OR item.quantity + coalesce((
    SELECT units FROM possessions AS own
    WHERE own.offer_id = item.offer_id AND own.customer_id = item.customer_id
  ), 0) <= offer.per_customer)
) AS fits
FROM order_items AS item CROSS JOIN LATERAL (
  SELECT remaining, per_customer FROM offers WHERE id = item.offer_id LIMIT 1
) AS offer
WHERE item.order_id = $1
"""


async def select_order_fits(db: Executor, order_id: UUID) -> bool:
    """Whether enough is left to take out once more what had returned to stock, and its customer has not
    bought as many as they may in the meantime.
    """
    [record] = await db.fetch(SELECT_ORDER_FITS, order_id)
    value: bool = record[0]
    return value


UPDATE_ORDER_PAID = """
WITH ordered AS MATERIALIZED (
  SELECT id, customer_id, total_krw, status = 'reserved' AS reserved
  FROM orders WHERE id = $1::uuid
), paid AS (
  UPDATE orders SET status = 'paid', changed_at = clock_timestamp()
  FROM ordered WHERE orders.id = ordered.id
), taken AS (
  UPDATE offers SET
    held = held - CASE WHEN reserved THEN quantity ELSE 0 END,
    remaining = remaining - CASE WHEN reserved THEN 0 ELSE quantity END,
    sold = sold + quantity,
    changes = changes + 1
  FROM ordered JOIN order_items AS item ON item.order_id = ordered.id
  WHERE offers.id = item.offer_id
  RETURNING offers.id, remaining, held, sold, changes
), events AS (
  INSERT INTO outbox (type, payload)
  SELECT 'order.paid', jsonb_build_object(
    'order_id', id, 'customer_id', customer_id, 'total_krw', total_krw
  )
  FROM ordered
  UNION ALL
  SELECT 'stock.changed', jsonb_build_object(
    'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
  )
  FROM taken
)
SELECT id FROM ordered
"""


async def update_order_paid(db: Executor, order_id: UUID) -> None:
    """Its units are sold: those that are held for it or, if it has expired, as many of those that are
    left. It keeps its places in the sale. Its offers and the order itself are locked.
    """
    await db.execute(UPDATE_ORDER_PAID, order_id)


UPDATE_PAYMENT_SETTLED = """
UPDATE payments SET state = $1, settled_at = clock_timestamp() WHERE id = $2
"""


async def update_payment_settled(db: Executor, *, state: str, payment_id: UUID) -> None:
    await db.execute(UPDATE_PAYMENT_SETTLED, state, payment_id)


UPDATE_PAYMENT_UNDONE = """
UPDATE payments SET state = 'refunding', open_since = now(), next_try_at = now(), tries = 0
WHERE id = $1
"""


async def update_payment_undone(db: Executor, payment_id: UUID) -> None:
    """What was asked for is to be undone: by the jobs, again and again until it is."""
    await db.execute(UPDATE_PAYMENT_UNDONE, payment_id)


UPDATE_PAYMENT_GIVEN_BACK = """
UPDATE payments SET
  state = 'refunding',
  open_since = CASE WHEN state = 'refunding' THEN open_since ELSE now() END,
  next_try_at = now() + $1::interval,
  tries = 0
WHERE order_id = $2 AND state IN ('approved', 'refunding')
RETURNING id
"""


async def update_payment_given_back(db: Executor, *, patience: timedelta, order_id: UUID) -> UUID:
    """The money of a paid order is to be given back. The jobs see to it if whoever asks now does not."""
    [record] = await db.fetch(UPDATE_PAYMENT_GIVEN_BACK, patience, order_id)
    value: UUID = record[0]
    return value


class Open(NamedTuple):
    id: UUID
    order_id: UUID
    state: str


UPDATE_PAYMENTS_TAKEN = """
UPDATE payments
SET next_try_at = now() + 2 ^ least(tries, 5) * interval '10 s', tries = tries + 1
WHERE id = ANY(ARRAY(
  SELECT id FROM payments WHERE state IN ('asked', 'refunding') AND next_try_at <= now()
  ORDER BY next_try_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
RETURNING id, order_id, state
"""


async def update_payments_taken(db: Executor, most: int) -> list[Open]:
    """Those that are due, taken by saying when the next attempt would be: so no two processes ask about
    the same one at once, and one that nobody answers for is asked about ever less often.
    """
    return [Open(*record) for record in await db.fetch(UPDATE_PAYMENTS_TAKEN, most)]


class Payment(NamedTuple):
    id: UUID
    order_id: UUID
    state: str
    amount_krw: int
    asked_at: datetime
    settled_at: datetime | None


SELECT_PAYMENT = """
SELECT id, order_id, state, amount_krw, asked_at, settled_at FROM payments
WHERE order_id = (
  SELECT orders.id FROM orders WHERE orders.id = $1 AND customer_id = $2
)
ORDER BY id DESC LIMIT 1
"""


async def select_payment(db: Executor, *, order_id: UUID, customer_id: UUID) -> Payment | None:
    """The latest attempt to pay this order, if it is this customer's."""
    record = await db.fetchrow(SELECT_PAYMENT, order_id, customer_id)
    return None if record is None else Payment(*record)


class Unanswered(NamedTuple):
    asked: int
    refunding: int
    oldest_s: float


SELECT_PAYMENTS_OPEN = """
SELECT
  count(*) FILTER (WHERE state = 'asked') AS asked,
  count(*) FILTER (WHERE state = 'refunding') AS refunding,
  coalesce(extract(epoch FROM now() - min(open_since)), 0)::float8 AS oldest_s
FROM payments WHERE state IN ('asked', 'refunding')
"""


async def select_payments_open(db: Executor) -> Unanswered:
    """How many the provider was asked for without an answer so far, and how long the oldest has waited."""
    [record] = await db.fetch(SELECT_PAYMENTS_OPEN)
    return Unanswered(*record)
