"""What it holds in memory: a worker, its servers, and everything that `holdfast up` starts.

Claim: a session that is warm costs a worker little, and their number is bounded.
Target: none was set; FastAPI with uvicorn, asyncpg and redis idles at about 57 MiB.
What bounds it: Python and its packages when idle; the token and grants caches (50,000 entries
each) when warm.

RSS counts shared pages in every process, PSS divides them among those who share; sums are of PSS.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from holdfast.cli.data_folder import RUN_NAME
from lab.identity.house import data_folder, house
from lab.identity.people import people
from lab.load import Stream, get
from lab.machine import memory_of
from lab.result import Lab, Result, Target
from lab.servers import worker

SESSIONS, CONNECTIONS = 10_000, 16
LONGEST_S, SETTLED_S = 120, 2.0

Memory = dict[str, float]


def measure(lab: Lab) -> Result:
    found: dict[str, Memory] = {}
    with lab.stack.database() as environ, worker(environ) as served:
        time.sleep(SETTLED_S)
        found["worker, idle"] = memory_of(served.pid)
        found["PostgreSQL, with that worker"] = memory_of(lab.stack.postgres.pid)
        found["Valkey, with that worker"] = memory_of(lab.stack.valkey.pid)
        lab.say(f"making {SESSIONS:,} sessions")
        requests = [get("/api/v1/users/me", each.access) for each in people(environ, SESSIONS)]
        lab.say("warming them")
        lists = [requests[at::CONNECTIONS] for at in range(CONNECTIONS)]
        stream = Stream("users/me", served.port, lists, most=SESSIONS)
        warmed = lab.load.fire(stream, seconds=LONGEST_S, warm_s=0).tallies["users/me"]
        found[f"worker, {SESSIONS:,} sessions warm"] = memory_of(served.pid)
        found["Valkey, with those sessions"] = memory_of(lab.stack.valkey.pid)
    lab.say("holdfast up")
    with data_folder() as data, house(data) as (_, pid):
        time.sleep(SETTLED_S)
        found |= {f"holdfast up: {name}": memory_of(each) for name, each in _parts(data)}
        found["holdfast up, all of it"] = memory_of(pid)
    return _result(found, warmed.summary())


def _parts(data: Path) -> Iterator[tuple[str, int]]:
    told = json.loads((data / RUN_NAME).read_text(encoding="utf-8"))
    for process in told["processes"]:
        yield process["name"], process["pid"]


def _result(found: dict[str, Memory], warmed: dict[str, object]) -> Result:
    idle, warm = found["worker, idle"], found[f"worker, {SESSIONS:,} sessions warm"]
    kib = (warm["pss_mib"] - idle["pss_mib"]) * 1024 / SESSIONS
    return Result(
        columns=("what", "RSS MiB", "PSS MiB"),
        rows=[[n, f"{each['rss_mib']:.1f}", f"{each['pss_mib']:.1f}"] for n, each in found.items()],
        targets=[
            Target("a warm session in a worker", "", f"{kib:.1f} KiB", None),
            Target(
                "everything that `holdfast up` starts",
                "",
                f"{found['holdfast up, all of it']['pss_mib']:.0f} MiB",
                None,
            ),
        ],
        others=None,  # sizes do not depend on them
        raw={"mib": found, "warmed": warmed},
    )
