"""`python -m lab.bench [NAME...]`: measure, keep the raw results, and say what was reached.

All by default, one after the other, because they would disturb each other. Each writes
`lab/results/NAME/DATE-MACHINE.json`; `lab/results/README.md` is made from the newest of them.
Run it on a machine that has nothing else to do: it tells the noise, but cannot take it away.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

from lab import machine, report
from lab.load import Generator
from lab.result import Lab, Result
from lab.servers import stack

AREAS = {  # a benchmark is a module of its area's folder
    "identity": (
        *("users_me", "login", "refresh", "refresh_lookup"),
        *("role_change", "earlier", "memory", "up"),
    ),
    "deals": (
        *("place_order", "async_orders", "in_process", "sold_out", "thousand_sales"),
        *("deal_list", "product_pages", "product_inserts", "order_reads", "relay"),
        *("grpc_wire", "turns"),
    ),
    "gateway": ("gateway_in_process", "gateway_network"),
}
AREA_OF = {name: area for area, names in AREAS.items() for name in names}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    told = _arguments()
    if told.list:
        for name in AREA_OF:
            print(f"{name:16}{_about(name).splitlines()[0]}")
        return
    began = time.monotonic()
    with stack() as servers, Generator.start() as load:
        for name in told.names or AREA_OF:
            print(f"\n{name}: {_about(name).splitlines()[0]}", flush=True)
            lab = Lab(servers, load, _sayer(name))
            pressed = machine.Moment.now({})
            result = _module(name).measure(lab)
            kept = _keep(name, result, machine.Moment.now({}).since(pressed))
            print("\n" + report.table(kept), flush=True)
    report.write(RESULTS, list(AREA_OF))
    print(f"\n{time.monotonic() - began:.0f} s. Kept in lab/results; summary in its README.md.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.bench", description="Measure the figures that the documents state."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all by default")
    parser.add_argument("--list", action="store_true", help="say what there is, measure nothing")
    told = parser.parse_args()
    if unknown := set(told.names) - set(AREA_OF):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(AREA_OF)}")
    return told


def _module(name: str) -> Any:
    return import_module(f"lab.{AREA_OF[name]}.{name}")


def _about(name: str) -> str:
    return dedent(_module(name).__doc__ or "").strip()


def _sayer(name: str) -> Callable[[str], None]:
    began = time.monotonic()

    def say(sentence: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {name}: {sentence}", flush=True)

    return say


def _keep(name: str, result: Result, use: machine.Use) -> dict[str, Any]:
    kept = {
        "name": name,
        "about": _about(name),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m lab.bench", *sys.argv[1:]]),
        "machine": machine.describe(),
        "meanwhile": {"seconds": use.seconds, "steal": use.steal, "pressure": use.pressure},
        **asdict(result),
    }
    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kept['at'][:10]}-{machine.slug()}.json"
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept


if __name__ == "__main__":
    main()
