"""Alerts and dashboard: each name and label that they ask for is shown by real processes.

What runs here is a real worker and real background jobs; where Prometheus' own tool is installed, it
also checks every expression and plays the alerts' stories.
"""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.test_up import Up, opener, until, up

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool is installed (Debian: apt-get install prometheus)"
)

TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*" | [a-zA-Z_:][\w:]* | \d[\w.]* | =~ | !~ | [=!<>]= | \S', re.VERBOSE
)
RANGE = re.compile(r"\[[^\]]*\]")
LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
OPERATORS = {"and", "or", "unless", "offset", "bool"}
BY_PROMETHEUS = {"up", "ALERTS"}
Series = list[tuple[str, dict[str, str]]]


@dataclass
class Asked:
    """What an expression asks for: series by name and matchers, and labels to group by."""

    selectors: list[tuple[str, list[tuple[str, str, str]]]] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)


def asked_by(expression: str) -> Asked:
    """Reads just enough of PromQL: a name is a series unless it is called, a list or an operator."""
    tokens = TOKEN.findall(RANGE.sub("", expression))
    asked = Asked()
    at = 0
    while at < len(tokens):
        token, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if token in LABEL_LISTS:
            end = tokens.index(")", at)
            asked.labels |= {name for name in tokens[at + 1 : end] if name != ","}
            at = end + 1
        elif re.match(r"[a-zA-Z_:]", token) and token not in OPERATORS:
            if after == "{":
                end = tokens.index("}", at)
                asked.selectors.append((token, _matchers(tokens[at + 1 : end])))
                at = end + 1
            elif after != "(" and after not in LABEL_LISTS:
                asked.selectors.append((token, []))
    return asked


def _matchers(tokens: list[str]) -> list[tuple[str, str, str]]:
    words = [token for token in tokens if token != ","]
    return [(words[i], words[i + 1], words[i + 2][1:-1]) for i in range(0, len(words), 3)]


def _fits(labels: dict[str, str], matchers: list[tuple[str, str, str]]) -> bool:
    """A label that a series lacks is never right, also where PromQL would let it pass."""
    for label, operator, wanted in matchers:
        if label not in labels:
            return False
        same = bool(
            re.fullmatch(wanted, labels[label]) if "~" in operator else labels[label] == wanted
        )
        if same == operator.startswith("!"):
            return False
    return True


@pytest.fixture(scope="module")
def rules(repository: Path) -> list[dict[str, Any]]:
    told = yaml.safe_load((repository / "deploy/prometheus/identity.rules.yml").read_text())
    return [rule for group in told["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(repository: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((repository / "deploy/grafana/identity.json").read_text())
    return told


@pytest.fixture(scope="module")
def alerts(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for rule in rules if "alert" in rule]


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _expressions(dashboard: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Title, expression and legend of everything that the dashboard shows, with its variables set."""
    return [
        (
            panel["title"],
            target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m"),
            target["legendFormat"],
        )
        for panel in _panels(dashboard)
        for target in panel["targets"]
    ]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    """What a worker and the jobs show after some sign-ins that end in every way."""
    data = tmp_path_factory.mktemp("observed") / "data"
    # So little patience with a full hashing pool that a crowd makes it refuse: there is a 5xx.
    with up(data, "--workers=1", HOLDFAST_IDENTITY_HASH_DEADLINE_S="0.05") as house:
        asyncio.run(_use(house))
        processes = house.processes().values()
        ports = {one["kind"]: one["metrics_port"] for one in processes if one["metrics_port"]}
        until(lambda: "holdfast_mails{" in _scrape(ports["jobs"]))
        yield [
            *_series(_scrape(ports["worker"]), job="identity"),
            *_series(_scrape(ports["jobs"]), job="identity-jobs"),
        ]


async def _use(house: Up) -> None:
    async with aiohttp.ClientSession(house.url) as http:

        async def sign_in(email: str, password: str) -> tuple[int, Any]:
            body = {"email": email, "password": password}
            async with http.post("/api/v1/auth/login", json=body) as answer:
                return answer.status, await answer.json()

        email, password = house.account("User")
        status, told = await sign_in(email, password)
        assert status == 200
        token = told["data"]
        who = {"Authorization": f"Bearer {token['access_token']}"}
        refresh = {"refresh_token": token["refresh_token"]}
        async with http.get("/api/v1/users/me", headers=who) as answer:
            assert answer.status == 200
        async with http.post("/api/v1/auth/refresh", json=refresh) as answer:
            assert answer.status == 200
        assert (await sign_in(email, "not the password"))[0] == 401
        crowd = [sign_in(f"nobody{i}@example.com", password) for i in range(60)]
        assert 503 in {status for status, _ in await asyncio.gather(*crowd)}


def _scrape(port: int) -> str:
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _series(text: str, *, job: str) -> Series:
    found = re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    scraped = {"job": job, "instance": "127.0.0.1"}
    return [(name, {**dict(re.findall(r'(\w+)="(.*?)"', told)), **scraped}) for name, told in found]


def _unknown(expression: str, shown: Series, recorded: set[str], legend: str = "") -> list[str]:
    """What an expression or its legend asks for and no process shows."""
    asked = asked_by(expression)
    missing, labels = [], set[str]()
    for name, matchers in asked.selectors:
        if name in recorded | BY_PROMETHEUS:
            continue
        fitting = [series for metric, series in shown if metric == name and _fits(series, matchers)]
        labels |= {label for series in fitting for label in series}
        if not fitting:
            missing.append(f"{name}{matchers}")
    wanted = asked.labels | set(re.findall(r"{{(\w+)}}", legend))
    return missing + sorted(wanted - labels)


def test_every_rule_asks_for_what_is_shown(rules: list[dict[str, Any]], shown: Series) -> None:
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        assert not _unknown(rule["expr"], shown, recorded), rule


def test_every_panel_asks_for_what_is_shown(
    dashboard: dict[str, Any], rules: list[dict[str, Any]], shown: Series
) -> None:
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for title, expression, legend in _expressions(dashboard):
        assert not _unknown(expression, shown, recorded, legend), title


@pytest.mark.parametrize(
    "wrong",
    [
        "holdfast_http_request_total",
        'sum(rate(holdfast_http_requests_total{job="identity",code="5xx"}[5m]))',
        'holdfast_hashing_passwords{state="waiting"}',
        'holdfast_http_requests_total{route=~"/v2/.*"}',
        "sum by (route, handler) (holdfast_http_requests_total)",
    ],
)
def test_a_name_label_or_value_that_nothing_shows_is_found(wrong: str, shown: Series) -> None:
    assert _unknown(wrong, shown, set())


def test_an_expression_is_read_as_it_is_meant() -> None:
    asked = asked_by(
        'histogram_quantile(0.9, sum by (le) (rate(a_bucket{x=~"b|c",y!="}"}[5m]))) > 2'
        " and on (z) absent(d) unless time() - max without (v) (e offset 1h)"
    )
    assert asked.selectors == [
        ("a_bucket", [("x", "=~", "b|c"), ("y", "!=", "}")]),
        ("d", []),
        ("e", []),
    ]
    assert asked.labels == {"le", "z", "v"}


def test_every_alert_says_what_happens_and_what_to_do(
    alerts: list[dict[str, Any]], repository: Path
) -> None:
    guide = (repository / "docs/identity.md").read_text()
    headings = re.findall(r"^#+ (.+)$", guide, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
    for alert in alerts:
        told = alert["annotations"]
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert told.keys() == {"summary", "description", "runbook"}
        page, _, anchor = told["runbook"].partition("#")
        assert (page, anchor in anchors) == ("docs/identity.md", True), alert["alert"]


def test_every_alert_has_a_story_in_which_it_fires(
    alerts: list[dict[str, Any]], repository: Path
) -> None:
    stories = yaml.safe_load((repository / "deploy/prometheus/identity.test.yml").read_text())
    samples = [
        sample
        for story in stories["tests"]
        for test in story["promql_expr_test"]
        for sample in test["exp_samples"]
    ]
    firing = set(re.findall(r'alertname="(\w+)"', str(samples)))
    assert firing == {alert["alert"] for alert in alerts}


@needs_promtool
def test_promtool_plays_the_stories(repository: Path) -> None:
    _promtool("check", "rules", repository / "deploy/prometheus/identity.rules.yml")
    _promtool("test", "rules", repository / "deploy/prometheus/identity.test.yml")


@needs_promtool
def test_promtool_understands_every_panel(dashboard: dict[str, Any], tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression, _) in enumerate(_expressions(dashboard))
    ]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))
    _promtool("check", "rules", file)


def _promtool(*words: str | Path) -> None:
    assert PROMTOOL
    done = subprocess.run(  # noqa: S603 - the machine's own tool
        [PROMTOOL, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_has_its_own_place_and_says_what_it_shows(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        assert panel["type"] == "row" or panel["description"].endswith(".")
    ids = [panel["id"] for panel in dashboard["panels"]]
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


def test_the_dashboard_works_with_any_prometheus(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert dashboard["schemaVersion"] >= 39
    assert "id" not in dashboard  # Grafana gives it one
    assert variables["datasource"]["type"] == "datasource"
    for panel in _panels(dashboard):
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}, panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
