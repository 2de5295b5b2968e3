"""`holdfast orders ...`: what a developer or an operator does by hand."""

import asyncio
import os
from uuid import UUID

import click


@click.group(name="orders")
def group() -> None:
    """Look after orders, and pay them without money."""


@group.command()
@click.option("--port", default=8093, show_default=True, type=click.IntRange(1, 65_535))
def payment_stand_in(port: int) -> None:
    """Run a payment provider to develop against. It takes nobody's money.

    Tell the service where it is by HOLDFAST_ORDERS_PAYMENT_URL; `holdfast up` does both by itself.
    What a payment method does:

    \b
    card-approved      approved
    card-declined      declined, as is everything that is not in this list
    card-slow          approved, and the answer takes two seconds
    card-lost-answer   approved, and the answer is lost: the jobs find out
    card-lost-refund   approved; refunded when asked to, and that answer is lost

    \b
    Example:      holdfast orders payment-stand-in --port 8093
    Environment:  HOLDFAST_ORDERS_PAYMENT_KEY   what it wants to be called with
    Exit status:  0 stopped as asked, 1 refused to start: in production there is none.
    """  # noqa: D301 - click wants a real backspace before what it must not wrap
    from holdfast.apps.orders.stand_in import stand_in  # noqa: PLC0415 - keeps --help fast

    stand_in(port)


@group.command()
@click.argument("offer_id", type=click.UUID, required=False)
def audit(offer_id: UUID | None) -> None:
    """Follow every order, and say where an offer's counters or an order's sums are wrong.

    Prints each offer's proof: initial = remaining + held + sold, and how many places were given.
    Looks at OFFER_ID and its orders, or at everything. Sales may go on: it reads one moment, and
    changes nothing. Reads DATABASE_URL, REDIS_URL and HOLDFAST_SECRET like the service itself.

    \b
    Example:      holdfast orders audit 0199a8f1-02d7-7e10-8b35-c4d2a9e6f001
    Exit status:  0 all is right, 1 it is not (stderr says what differs, and where).
    """  # noqa: D301 - click wants a real backspace before what it must not wrap
    if faults := asyncio.run(_audit(offer_id)):
        raise click.ClickException("\n".join(["This is not as it should be:", *faults]))


async def _audit(offer_id: UUID | None) -> list[str]:
    """Prints the proofs; answers what is wrong."""
    import asyncpg  # noqa: PLC0415 - keeps --help fast

    from holdfast.apps.orders.audit.actions import audit_offers  # noqa: PLC0415
    from holdfast.apps.orders.resources import database_address  # noqa: PLC0415
    from holdfast.core.settings import Settings  # noqa: PLC0415

    address = database_address(Settings.load(os.environ))
    takes_its_time = address.settings() | {"statement_timeout": "0"}
    connection = await asyncpg.connect(address.url, server_settings=takes_its_time)
    try:
        found = await audit_offers(connection, offer_id)
    finally:
        await connection.close()
    for proof in found.proofs:
        click.echo(proof)
    return found.faults
