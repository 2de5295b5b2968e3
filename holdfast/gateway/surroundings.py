"""What somebody else's front door must be told besides the table: addresses, tokens, trust.

`envoy.py` and `kong.py` render with it. It needs no database and no Redis, so that a configuration
can be made where there are none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from holdfast.core import manifest
from holdfast.core.settings import PublicSettings
from holdfast.gateway.door import OWN
from holdfast.gateway.options import Options
from holdfast.gateway.table import Table, TableError

PORT = 8000  # where `holdfast serve gateway` is, and with it the house's own pages


@dataclass(frozen=True)
class Surroundings:
    settings: PublicSettings
    options: Options
    port: int  # to listen on
    upstreams: Mapping[str, str]  # those of the table, and their addresses

    @classmethod
    def of(cls, table: Table, settings: PublicSettings, options: Options, port: int) -> Self:
        """An upstream is where it is said to be, or where `holdfast serve` puts it on this machine."""
        usual = {app.name: app.port for app in manifest.apps()} | {OWN: PORT}
        here = {name: f"http://127.0.0.1:{at}" for name, at in usual.items()}
        known = {**here, **options.upstreams}
        wanted = {route.upstream for route in table.routes}
        if unknown := wanted - known.keys():
            missing = ", ".join(sorted(unknown))
            raise TableError(f"Say in HOLDFAST_GATEWAY_UPSTREAMS where to find: {missing}")
        return cls(settings, options, port, {name: known[name] for name in sorted(wanted)})

    @property
    def keys_url(self) -> str:
        """Where the keys are that verify tokens."""
        identity = self.settings.identity_url or self.settings.origin
        return f"{identity}/.well-known/jwks.json"
