"""The run file: what is running now, for whoever wants to show it or to find it.

Written as a whole at every change, so that a reader never sees half of it; gone when nothing runs.
It is told, never asked: nobody steers the supervisor through it.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from holdfast.cli.child import Child


@dataclass(frozen=True)
class RunFile:
    path: Path
    url: str
    data: Path
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def write(self, children: list[Child]) -> None:
        told = {
            "started_at": self.started_at.isoformat(),
            "url": self.url,
            "data": str(self.data),
            "version": version("holdfast"),
            "processes": [_process(child) for child in children],
        }
        whole = self.path.with_suffix(".new")
        whole.touch(mode=0o600)
        whole.write_text(json.dumps(told, indent=1), encoding="utf-8")
        whole.replace(self.path)


def _process(child: Child) -> dict[str, Any]:
    return {
        "name": child.program.name,
        "kind": child.program.kind,
        "pid": child.pid,
        "port": child.program.port,
        "metrics_port": child.program.metrics_port,
        "state": child.state,
        "since": child.since.isoformat(),
        "restarts": child.restarts,
    }
