"""The catalog's own settings, read from `HOLDFAST_CATALOG_...`."""

import os
from typing import ClassVar, Self

from pydantic import Field

from holdfast.core.settings import Environment, Settings


class Options(Environment):
    prefix: ClassVar[str] = "HOLDFAST_CATALOG_"

    list_ttl_s: float = Field(60, ge=1, le=3600)  # how long a list may be given from memory

    @classmethod
    def of(cls, _settings: Settings) -> Self:
        return cls.load(os.environ)
