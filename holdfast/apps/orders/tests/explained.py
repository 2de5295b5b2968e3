"""Statements explained instead of answered: pass it where a query wants the database."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Node = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    top: Node
    ms: float

    @property
    def pages(self) -> int:
        """That were looked at, wherever they were found. What a statement writes beside its answer
        is not counted as part of it.
        """
        beside = [node for node in self.top.get("Plans", ()) if node["Node Type"] == "ModifyTable"]
        return sum(
            node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in (self.top, *beside)
        )

    @property
    def read_whole(self) -> set[str]:
        return {
            node["Relation Name"] for node in _nodes(self.top) if node["Node Type"] == "Seq Scan"
        }

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in _nodes(self.top) if "Index Name" in node}


@dataclass
class Explained:
    """Runs each statement, by a plan for all parameters alike or for these, and undoes it."""

    connection: Any
    generic: bool = False
    plans: list[Plan] = field(default_factory=list)

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        undone = self.connection.transaction()
        await undone.start()
        try:
            mode = "force_generic_plan" if self.generic else "force_custom_plan"
            await self.connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            await self.connection.execute(f"PREPARE explained AS {query}")
            given = f"({', '.join(map(_literal, args))})" if args else ""
            told = await self.connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained{given}"
            )
            await self.connection.execute("DEALLOCATE explained")
        finally:
            await undone.rollback()
        (plan,) = json.loads(told)
        self.plans.append(Plan(plan["Plan"], plan["Execution Time"]))
        return []

    async def fetchrow(self, query: str, *args: Any) -> None:
        await self.fetch(query, *args)

    async def fetchval(self, query: str, *args: Any) -> None:
        await self.fetch(query, *args)

    async def execute(self, query: str, *args: Any) -> str:
        await self.fetch(query, *args)
        return ""


def _nodes(top: Node) -> Iterator[Node]:
    yield top
    for below in top.get("Plans", ()):
        yield from _nodes(below)


def _literal(value: Any) -> str:
    return "NULL" if value is None else "'" + _text(value).replace("'", "''") + "'"


def _text(value: Any) -> str:
    match value:
        case bytes():
            return f"\\x{value.hex()}"
        case datetime():
            return value.isoformat()
        case timedelta():
            return f"{value.total_seconds()} s"
        case str() | int():
            return str(value)
        case Sequence():
            return "{" + ",".join(map(_element, value)) + "}"
        case _:
            return str(value)


def _element(value: Any) -> str:
    return "NULL" if value is None else json.dumps(_text(value))
