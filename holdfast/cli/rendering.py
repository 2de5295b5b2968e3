"""What `holdfast gateway render` prints: the table in another door's words, and what they lack."""

import os
from pathlib import Path
from typing import Any

import yaml

from holdfast.core.settings import PublicSettings
from holdfast.gateway import envoy, kong, table
from holdfast.gateway.options import Options
from holdfast.gateway.surroundings import Surroundings

RENDERERS = {"envoy": envoy, "kong": kong}


class Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's
        """What comes twice is written twice: a reader looks for it where it counts."""
        return True


def render(kind: str, file: Path | None, profile: str | None, port: int) -> str:
    given = {"HOLDFAST_PROFILE": profile, "HOLDFAST_GATEWAY_TABLE": file and str(file)}
    environ = os.environ | {name: value for name, value in given.items() if value}
    settings, options = PublicSettings.load(environ), Options.load(environ)
    routes = table.read(settings.profile, options.table)
    around = Surroundings.of(routes, settings, options, port)
    renderer = RENDERERS[kind]
    head = "".join(f"# {line}".rstrip() + "\n" for line in (renderer.__doc__ or "").splitlines())
    return head + yaml.dump(renderer.render(routes, around), Dumper=Plain, sort_keys=False)
