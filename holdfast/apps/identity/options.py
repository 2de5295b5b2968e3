"""Identity's own settings, read from `HOLDFAST_IDENTITY_...`."""

import os
from typing import ClassVar, Literal

from pydantic import Field

from holdfast.core.settings import Environment


class Options(Environment):
    prefix: ClassVar[str] = "HOLDFAST_IDENTITY_"

    audience: str = "holdfast"
    client_id: str = "holdfast"
    token_alg: Literal["Ed25519", "RS256"] = "Ed25519"  # noqa: S105 - an algorithm
    access_ttl_s: int = Field(900, ge=10, le=86_400)
    refresh_ttl_s: int = Field(30 * 86_400, ge=60, le=35 * 86_400)
    refresh_grace_s: float = Field(10, ge=0, le=120)
    hash_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=64)
    hash_deadline_s: float = Field(2, gt=0, le=30)
