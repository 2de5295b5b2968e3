"""The front door's own settings, read from `HOLDFAST_GATEWAY_...`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, StringConstraints

from holdfast.core.settings import Environment, comma_separated
from holdfast.gateway import table


def _addresses_by_name(value: Any) -> Any:
    """`orders=http://127.0.0.1:8003,catalog=http://...`"""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in comma_separated(value)]
    if any(not name or not address for name, _, address in pairs):
        raise ValueError("write name=http://host:port, separated by commas")
    return {name.strip(): address.strip() for name, _, address in pairs}


Address = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\s]+$")]


class Options(Environment):
    prefix: ClassVar[str] = "HOLDFAST_GATEWAY_"

    table: Path = table.FILE
    upstreams: Annotated[Mapping[str, Address], BeforeValidator(_addresses_by_name)] = {}
    cors_origins: Annotated[frozenset[Address], BeforeValidator(comma_separated)] = frozenset()
    most_in_flight: int = Field(2_000, ge=1)  # a worker's requests that are not yet answered
    most_streams: int = Field(20_000, ge=1)  # a worker's answers that go on, and web sockets
