"""Receipts: an order's places, signed, so that anyone can check them without asking us.

A receipt says only what stays true of an order, whatever becomes of it, so the same order gives the
same receipt each time. The key is derived from HOLDFAST_SECRET and stored nowhere: with another secret there
is another key, and whoever wants to check earlier receipts must have kept the earlier key set.
"""

import hmac
from functools import cache
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

from holdfast.apps.orders.proof.schemas import PlaceClaim, ReceiptClaims
from holdfast.apps.orders.records.schemas import OrderOut

ALG = "Ed25519"
TYPE = "receipt+jwt"  # so that it is never taken for an access token
PURPOSE = b"holdfast.orders.receipts"


@cache
def receipt_key(secret: str) -> OKPKey:
    seed = hmac.digest(secret.encode(), PURPOSE, sha256)
    key = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed), {"alg": ALG, "use": "sig"})
    key.ensure_kid()
    return key


def write_receipt(order: OrderOut, *, issuer: str, key: OKPKey) -> str:
    claims = ReceiptClaims(
        iss=issuer,
        order_id=order.id,
        placed_at=order.placed_at,
        items=[PlaceClaim(item.offer_id, item.place, item.quantity) for item in order.items],
    )
    header = {"alg": ALG, "kid": key.kid, "typ": TYPE}
    return jws.serialize_compact(header, msgspec.json.encode(claims), key, algorithms=[ALG])
