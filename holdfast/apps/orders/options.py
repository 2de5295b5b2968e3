"""Orders' own settings, read from `HOLDFAST_ORDERS_...`."""

import os
from typing import ClassVar, Self

from pydantic import Field

from holdfast.core.settings import Environment, Settings, SettingsError

CATALOG_URL = r"^(https?://[^/]+|grpc://[^/]+:\d+)$"
MUST_BE_SET = {"payment_url", "payment_key"}  # in production


class Options(Environment):
    prefix: ClassVar[str] = "HOLDFAST_ORDERS_"

    catalog_url: str | None = Field(None, pattern=CATALOG_URL)  # where it is not the origin
    payment_url: str = Field("http://127.0.0.1:8093", pattern=r"^https?://\S*[^/\s]$")
    payment_key: str = Field("stand-in", pattern="^[!-~]+$")  # both are the local stand-in's
    hold_s: float = Field(600, ge=1, le=86_400)  # to pay in
    stale_s: float = Field(300, ge=1, le=86_400)  # how long prices hold without the catalog's word

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read from the environment; refuses what the profile must not start with."""
        options = cls.load(os.environ)
        if settings.profile == "production" and not options.model_fields_set >= MUST_BE_SET:
            names = " and ".join(f"{cls.prefix}{name.upper()}" for name in sorted(MUST_BE_SET))
            raise SettingsError(
                f"{names}: set both. Production takes real money: say where the payment provider is,"
                " and the key that it knows you by."
            )
        return options
