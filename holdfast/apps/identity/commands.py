"""`holdfast identity ...`: what an operator does by hand."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import click

Answer = TypeVar("Answer")


@click.group(name="identity")
def group() -> None:
    """Look after identity: signing keys and the login history.

    Reads DATABASE_URL, REDIS_URL and HOLDFAST_SECRET like the service itself. To look after what
    `holdfast up --data DIR` runs, take them from there first:  . DIR/env
    """


@group.command()
@click.option("--now", is_flag=True, help="Sign with the new key at once, not in five minutes.")
def rotate_keys(*, now: bool) -> None:
    """Make a new signing key; the old ones verify until their last token has expired.

    Others may keep our public keys for five minutes, so the new one signs after that. No request
    fails meanwhile, and no token is lost.
    """
    from holdfast.apps.identity.keys import actions  # noqa: PLC0415 - keeps --help fast

    kid = _run(
        lambda here: actions.rotate_keys(
            here.lease,
            alg=here.options.token_alg,
            sealing_key=here.sealing_key,
            access_ttl=here.access_ttl,
            lead=timedelta(0) if now else actions.PUBLISHED_BEFORE_SIGNING,
        )
    )
    click.echo(f"{kid} signs {'now' if now else 'in five minutes'}; every worker knows it.")


@group.command(context_settings={"ignore_unknown_options": True})  # a key's id may begin with "-"
@click.argument("kid")
def withdraw_key(kid: str) -> None:
    """Refuse at once, everywhere, all access tokens that the key KID has signed.

    For a key that has leaked. Make a new one first: holdfast identity rotate-keys --now
    """
    from holdfast.apps.identity.keys import actions  # noqa: PLC0415 - keeps --help fast

    _run(lambda here: actions.withdraw_key(here.lease, kid))
    click.echo(f"{kid} is withdrawn on every worker.")


@group.command()
def verify_history() -> None:
    """Follow the login history's chains, and say where one was changed or cut.

    Exit status 1 when a row was changed, removed or put in by anyone but the service.
    """
    from holdfast.apps.identity.history import actions, rules  # noqa: PLC0415 - keeps --help fast

    try:
        rows = _run(lambda here: actions.verify_history(here.db, here.secrets))
    except rules.BrokenChainError as broken:
        raise click.ClickException(str(broken)) from None
    click.echo(f"{rows} attempts, unbroken.")


def _run(work: Callable[..., Awaitable[Answer]]) -> Answer:
    from holdfast.apps.identity.options import Options  # noqa: PLC0415 - keeps --help fast
    from holdfast.apps.identity.resources import Identity  # noqa: PLC0415
    from holdfast.core.settings import Settings  # noqa: PLC0415

    async def run() -> Answer:
        settings = Settings.load(os.environ, db_pool_min=1, db_pool_max=2)
        async with Identity.open(settings, Options.load(os.environ)) as here:
            return await work(here)

    return asyncio.run(run())
