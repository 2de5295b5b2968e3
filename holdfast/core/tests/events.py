"""The events that an app promises in its AsyncAPI file, and whether real ones keep to it."""

from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema_rs
import yaml

from holdfast.core.manifest import App

BY_THE_RELAY = {"stream.began"}


def promised(app: App) -> dict[str, Any]:
    """By type, the schema of its payload."""
    told = yaml.safe_load(app.events.read_text(encoding="utf-8"))
    names = {name for channel in told["channels"].values() for name in channel["messages"]}
    return {
        name: {"$ref": f"#/components/messages/{name}/payload", "components": told["components"]}
        for name in names - BY_THE_RELAY
    }


def misfits(app: App, events: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """What is wrong with these, given as type and payload; a field that is not named is, too."""
    schemas = promised(app)
    for kind, payload in events:
        closed = {**schemas[kind], "unevaluatedProperties": False}
        validator = jsonschema_rs.Draft202012Validator(closed, validate_formats=True)
        yield from (f"{kind}: {error}" for error in validator.iter_errors(payload))
