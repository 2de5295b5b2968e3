"""The keyring: the signing keys as this worker knows them, until they change.

A rotation touches the subject `keys`, so every worker forgets its ring before the rotation is
answered; the next token reads it again. A key id that nobody knows costs one look a second.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from joserfc import jws
from joserfc.jwk import Key, import_key

from holdfast.apps.identity.keys import queries
from holdfast.apps.identity.keys.rules import half_hash, signing_now, unseal
from holdfast.core.db import Database
from holdfast.core.errors import BusyError
from holdfast.core.tokens import VerificationKey

SUBJECT = "keys"
LOOK_AGAIN_S = 1.0
LIVES_AT_MOST_S = 30.0  # so that a key that was made to sign later does so in time


class Keyring:
    def __init__(self, db: Database, sealing_key: bytes) -> None:
        self._db = db
        self._sealing_key = sealing_key
        self._rows: Sequence[queries.SigningKey] = ()
        self._public: dict[str, VerificationKey] = {}
        self._private: dict[str, Key] = {}
        self._read_at = float("-inf")
        self._forgotten = 0
        self._reading = asyncio.Lock()

    def forget(self) -> None:
        self._read_at = float("-inf")
        self._forgotten += 1

    async def find(self, kid: str) -> VerificationKey | None:
        await self._ensure_read()
        if kid not in self._public and time.monotonic() - self._read_at > LOOK_AGAIN_S:
            self.forget()
            await self._ensure_read()
        return self._public.get(kid)

    async def sign(
        self, claims: dict[str, Any], typ: str = "at+jwt", *, beside: str | None = None
    ) -> str:
        """A compact JWT over the claims, with an id of its own.

        One that is given beside an access token says which (`at_hash`), where it is agreed by which
        hash: for Ed25519 it is not, and clients would refuse the token for a claim that is optional.
        """
        await self._ensure_read()
        newest = signing_now(self._rows, datetime.now(UTC))
        if newest is None:
            raise BusyError("There is no signing key. Run: holdfast identity rotate-keys --now")
        row = self._rows[newest]
        if row.kid not in self._private:
            self._private[row.kid] = import_key(
                unseal(row.private_sealed, row.kid, self._sealing_key)
            )
        header = {"alg": row.alg, "kid": row.kid, "typ": typ}
        hashed = {"at_hash": half_hash(beside)} if beside and row.alg == "RS256" else {}
        payload = msgspec.json.encode({**claims, **hashed, "jti": uuid4()})
        return jws.serialize_compact(header, payload, self._private[row.kid], algorithms=[row.alg])

    async def published(self) -> list[dict[str, Any]]:
        """The public keys, for whoever verifies our tokens."""
        await self._ensure_read()
        return [msgspec.json.decode(row.public_jwk) for row in self._rows]

    async def _ensure_read(self) -> None:
        async with self._reading:
            while time.monotonic() - self._read_at > LIVES_AT_MOST_S:
                began, forgotten = time.monotonic(), self._forgotten
                rows = await queries.select_signing_keys(self._db)
                if forgotten == self._forgotten:  # otherwise they changed while we read
                    self._take(rows, began)

    def _take(self, rows: Sequence[queries.SigningKey], read_at: float) -> None:
        self._rows, self._read_at = rows, read_at
        self._public = {
            row.kid: VerificationKey(row.alg, import_key(msgspec.json.decode(row.public_jwk)))
            for row in rows
        }
