"""Patience: what the product refuses to whoever stands still for a second, a slow machine is given."""

import re

import pytest

from holdfast.apps.orders.placing import queries as placing
from holdfast.apps.orders.requests import queries as requests
from holdfast.apps.orders.room import queries as room
from holdfast.core.tests import patience

LOCKS = [(placing, "LOCK_OFFERS"), (requests, "LOCK_QUEUE"), (room, "LOCK_ROOMS")]


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As others are, and with whoever is in the middle of a transaction."""
    patience.be_patient(monkeypatch)
    for queries, lock in LOCKS:
        longer, found = re.subn("'[14]s'", f"'{patience.PATIENCE_S}s'", getattr(queries, lock))
        assert found == 2
        monkeypatch.setattr(queries, lock, longer)
