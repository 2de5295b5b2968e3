"""Every event that an app emits is in its AsyncAPI file, and the other way round.

An app without such a file promises no events; what the payloads hold is tested with the app.
"""

from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from checks.events import differences, emitted
from holdfast.core.manifest import App, apps
from holdfast.core.tests.events import promised

TELLING = [app for app in apps() if app.events.exists()]
each_telling_app = pytest.mark.parametrize("app", TELLING, ids=lambda app: app.name)


@each_telling_app
def test_events_are_those_of_the_contract(app: App) -> None:
    wrong = differences(set(promised(app)), emitted(app.folder))
    assert not wrong, f"contracts/events/{app.events.name} and {app.name} differ:\n" + "\n".join(
        wrong
    )


@each_telling_app
def test_every_message_has_its_name_and_an_example_that_fits(app: App) -> None:
    told = yaml.safe_load(app.events.read_text(encoding="utf-8"))
    [channel] = told["channels"].values()
    assert channel["address"] == f"events:{app.schema}"
    assert channel["messages"].keys() == told["components"]["messages"].keys()
    for name, message in told["components"]["messages"].items():
        assert message["name"] == name
        for example in message["examples"]:
            for part, value in example.items():
                schema = {
                    "$ref": f"#/components/messages/{name}/{part}",
                    "components": told["components"],
                }
                jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(value)


def test_every_event_contract_has_its_app(repository: Path) -> None:
    known = {app.events for app in apps()}
    orphans = [
        path.name for path in (repository / "contracts" / "events").iterdir() if path not in known
    ]
    assert not orphans, f"No app emits the events of these: {', '.join(orphans)}"


def test_emitted_types_are_found_wherever_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "queries.sql").write_text(
        """SELECT 'not.one';  -- this one's apostrophe opens nothing;
           WITH events AS (INSERT INTO outbox (type) SELECT 'a.placed' UNION SELECT 'b.' || status)
           SELECT 1;"""
    )
    (tmp_path / "actions.py").write_text(
        "async def f():\n await tell('c.made', emit(db, 'd.made'))"
    )
    (tmp_path / "rules.py").write_text("SQL = 'not.one'")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text("emit(db, 'not.one')")
    assert emitted(tmp_path) == {"a.placed", "b.*", "c.made", "d.made"}


def test_a_difference_between_events_is_reported() -> None:
    assert differences({"a.made", "a.sold", "b.made"}, {"a.*", "b.sold", "c.*"}) == [
        "b.made is promised and never emitted",
        "b.sold is emitted and not promised",
        "c.* is emitted and not promised",
    ]
