"""Rotation: a new key signs, the old ones verify until their last token has expired."""

from datetime import timedelta

import msgspec
from joserfc.jwk import Key

from holdfast.apps.identity.keys import queries
from holdfast.apps.identity.keys.cache import SUBJECT
from holdfast.apps.identity.keys.rules import make_key, seal, unseal
from holdfast.core import epochs
from holdfast.core.db import Database, Executor
from holdfast.core.errors import NotFoundError

PUBLISHED_BEFORE_SIGNING = timedelta(minutes=5)  # as long as others may keep our JWKS


async def rotate_keys(
    lease: epochs.Lease,
    *,
    alg: str,
    sealing_key: bytes,
    access_ttl: timedelta,
    lead: timedelta = PUBLISHED_BEFORE_SIGNING,
) -> str:
    """Make a key that signs after `lead`; when it returns, every worker knows it."""
    key = make_key(alg)
    async with epochs.change(lease) as change:
        await queries.lock_signing_keys(change.db)
        await _succeed(
            change.db, key, alg=alg, sealing_key=sealing_key, lead=lead, access_ttl=access_ttl
        )
        change.touches(SUBJECT)
    return str(key.kid)


async def withdraw_key(lease: epochs.Lease, kid: str) -> None:
    """Refuse, from now on and everywhere, all that this key has signed."""
    async with epochs.change(lease) as change:
        if not await queries.update_signing_key_withdrawn(change.db, kid):
            raise NotFoundError(f"There is no valid key {kid}.")
        change.touches(SUBJECT)


async def ensure_key(db: Database, *, alg: str, sealing_key: bytes, access_ttl: timedelta) -> None:
    """The first worker on a new database makes the first key; all others must open what is there."""
    async with db.transaction() as connection:
        await queries.lock_signing_keys(connection)
        keys = await queries.select_signing_keys(connection)
        for key in keys:
            unseal(key.private_sealed, key.kid, sealing_key)
        if not keys:
            await _succeed(
                connection,
                make_key(alg),
                alg=alg,
                sealing_key=sealing_key,
                lead=timedelta(0),
                access_ttl=access_ttl,
            )


async def _succeed(
    db: Executor, key: Key, *, alg: str, sealing_key: bytes, lead: timedelta, access_ttl: timedelta
) -> None:
    kid = str(key.kid)
    await queries.delete_waiting_signing_keys(db)
    await queries.insert_signing_key(
        db,
        kid=kid,
        alg=alg,
        public_jwk=msgspec.json.encode(key.as_dict(private=False)).decode(),
        private_sealed=seal(key, sealing_key),
        lead=lead,
    )
    await queries.update_signing_keys_succeeded(db, kid=kid, lead=lead, token_life=access_ttl)
