"""From nothing to ready: `holdfast up`, in a fresh folder and on kept data.

Claim: one command brings up PostgreSQL, Valkey, the schema, demo accounts, a worker and the jobs.
Target: a second start on kept data in less than 3 s.
What bounds it: importing Python's packages, which each of the processes does for itself, and the
first time `initdb`.

Timed from the command to the first answer of `/health/ready` with 200, on all cores, since that
is how a person starts it. Cold means an empty data folder, not an empty page cache.
"""

import os
from statistics import median

from lab.identity.house import data_folder, house
from lab.machine import Moment
from lab.result import Lab, Result, Target

TIMES = 5
WANTED_S = 3.0


def measure(lab: Lab) -> Result:
    cold: list[float] = []
    warm: list[float] = []
    ourselves = {"bench": os.getpid()}  # with the houses, whose time is ours once they have ended
    before = Moment.now(ourselves)
    for number in range(TIMES):
        with data_folder() as data:
            for found in (cold, warm):
                with house(data) as (took_s, _):
                    found.append(took_s)
        lab.say(f"{number + 1}/{TIMES}  cold {cold[-1]:.2f} s, warm {warm[-1]:.2f} s")
    use = Moment.now(ourselves).since(before)
    return Result(
        columns=("start", "median s", "fastest s", "slowest s"),
        rows=[_row("fresh folder", cold), _row("kept data", warm)],
        targets=[
            Target(
                "ready on kept data, median",
                f"< {WANTED_S:.0f} s",
                f"{median(warm):.2f} s",
                median(warm) < WANTED_S,
            )
        ],
        others=use.others,
        notes=[
            (
                f"{TIMES} times each, in turn, one worker. Other programs took {100 * use.others:.0f} %"
                f" of a core; waiting for one {100 * use.pressure:.0f} % of the time, the house's own"
                " processes included."
            )
        ],
        raw={"cold_s": cold, "warm_s": warm, "use": vars(use)},
    )


def _row(name: str, took_s: list[float]) -> list[str]:
    return [name, *(f"{value:.2f}" for value in (median(took_s), min(took_s), max(took_s)))]
