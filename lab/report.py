"""The report: tables from the kept results, for the terminal and for `lab/results/README.md`."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HEAD = """# What was measured

Made from the newest results by `python -m lab.bench`; do not edit. Ratios are medians over the
rounds, with the lowest and the highest round in brackets. Servers are on one core and the load
generator on another, unless a note says otherwise. The raw figures (every round, whole
histograms) are in the JSON file that each section names. A verdict is doubtful when programs that
have no part in it took more than a tenth of a core meanwhile: run it again on a quiet machine.
"""
VERDICTS = {True: "reached", False: "MISSED", None: "compared"}
BUSY = 0.1  # cores taken by others; above that nobody should believe a verdict


def write(results: Path, names: Sequence[str]) -> None:
    newest = {
        name: max(found) for name in names if (found := list((results / name).glob("*.json")))
    }
    kept = {path: json.loads(path.read_text(encoding="utf-8")) for path in newest.values()}
    rows = [
        [f"[{each['name']}](#{each['name']})", *target]
        for each in kept.values()
        for target in _targets(each)
    ]
    sections = [_section(path.relative_to(results), each) for path, each in kept.items()]
    summary = _markdown(("benchmark", "what", "target", "measured", "verdict"), rows)
    text = "\n\n".join([HEAD.strip(), summary, *sections])
    (results / "README.md").write_text(text + "\n", encoding="utf-8")


def table(kept: dict[str, Any]) -> str:
    """For the terminal."""
    targets = _targets(kept)
    return "\n\n".join(
        [
            _aligned([kept["columns"], *kept["rows"]]),
            _aligned([("target", "wanted", "measured", "verdict"), *targets]),
            "\n".join(kept["notes"]),
        ]
    )


def _section(path: Path, kept: dict[str, Any]) -> str:
    made_by = kept["machine"]
    return "\n\n".join(
        [
            f"## {kept['name']}",
            kept["about"],
            _markdown(kept["columns"], kept["rows"]),
            "\n".join(f"- {note}" for note in kept["notes"]),
            (
                f"{kept['at'][:10]}, {made_by['cpu']}, {made_by['cores']} cores, Linux"
                f" {made_by['kernel']}, Python {made_by['python']}; `{kept['command']}`;"
                f" [{path.name}]({path})"
            ),
        ]
    )


def _targets(kept: dict[str, Any]) -> list[list[str]]:
    others = kept["others"] or 0.0
    doubt = f" (doubtful: {others:.1f} cores busy otherwise)" if others > BUSY else ""
    return [
        [each["what"], each["wanted"], each["measured"], VERDICTS[each["reached"]] + doubt]
        for each in kept["targets"]
    ]


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, rule, *rows])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    )
