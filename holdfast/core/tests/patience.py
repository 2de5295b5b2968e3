"""Patience: what the product refuses to whoever has waited for seconds, a slow machine is given."""

import pytest

from holdfast.core import db, redis
from holdfast.core.db import Address

PATIENCE_S = 30
_usual = Address.settings


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is opened from now on waits long for connections, locks, statements and Redis."""
    monkeypatch.setattr(db, "ACQUIRE_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(db, "ANSWER_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(redis, "TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(Address, "settings", _patient_settings)


def _patient_settings(address: Address) -> dict[str, str]:
    longer = dict.fromkeys(("lock_timeout", "statement_timeout"), f"{PATIENCE_S}s")
    return _usual(address) | longer
