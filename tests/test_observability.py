"""Alerts and dashboards: each name and label that they ask for is shown by real processes.

What runs here is each part as a process of its own, the front door before the others over the
network, and the background jobs of all; where Prometheus' own tool is installed, it also checks
every expression and plays the alerts' stories.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from holdfast.cli.servers import free_port
from holdfast.core import manifest
from tests.test_up import Up, opener, until, up

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES = sorted(DEPLOY.glob("prometheus/*.rules.yml"))
DASHBOARDS = sorted(DEPLOY.glob("grafana/*.json"))

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
SHOWN_LAST = (  # by what the jobs do side by side
    "holdfast_mails_oldest_waiting_seconds{",
    "holdfast_payments_oldest_open_seconds ",
    "holdfast_stream_events_set_aside{",
    *(
        f'holdfast_outbox_{gauge}_seconds{{app="{app.name}"}}'
        for gauge in ("oldest_waiting", "relayed_timestamp")
        for app in manifest.apps()
    ),
)
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


def _rules(file: Path) -> list[dict[str, Any]]:
    return [rule for group in _read(file)["groups"] for rule in group["rules"]]


def _stories(rules_file: Path) -> Path:
    return rules_file.with_name(rules_file.name.replace(".rules.", ".test."))


def _read(file: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.load(file.read_text(), yaml.CSafeLoader)
    return told


RECORDED = {
    rule["record"]: asked_by(rule["expr"])
    for file in RULES
    for rule in _rules(file)
    if "record" in rule
}


@pytest.fixture(params=RULES, ids=lambda file: file.name)
def rules_file(request: pytest.FixtureRequest) -> Path:
    file: Path = request.param
    return file


@pytest.fixture
def alerts(rules_file: Path) -> list[dict[str, Any]]:
    return [rule for rule in _rules(rules_file) if "alert" in rule]


@pytest.fixture(params=DASHBOARDS, ids=lambda file: file.name)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(request.param.read_text())
    return told


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
    """What every part and the jobs show after some sign-ins that end in every way, and an order."""
    data = tmp_path_factory.mktemp("observed") / "data"
    with up(data, "--workers=1") as house, _parts(house) as parts:
        asyncio.run(_use(house, parts["gateway"].url))
        jobs = house.processes()["jobs"]["metrics_port"]
        until(lambda: all(each in _scrape(jobs) for each in SHOWN_LAST))
        yield [
            *(series for part in parts.values() for series in part.series()),
            *_series(_scrape(jobs), job="jobs"),
        ]


@dataclass(frozen=True)
class Part:
    name: str
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def series(self) -> Series:
        return _series(_scrape(self.metrics_port), job=self.name)

    @contextmanager
    def serve(self, environ: dict[str, str]) -> Iterator[None]:
        ports = (f"--port={self.port}", f"--metrics-port={self.metrics_port}")
        command = [sys.executable, "-m", "holdfast.cli.main", "serve", self.name, *ports]
        with subprocess.Popen(command, env=os.environ | environ) as process:  # noqa: S603 - our own
            try:
                yield
            finally:
                process.terminate()

    def is_ready(self) -> bool:
        try:
            with opener.open(f"{self.url}/health/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def _parts(house: Up) -> Iterator[dict[str, Part]]:
    """As in a large installation, by the house's database and Redis."""
    apps = [Part(app.name) for app in manifest.apps()]
    gateway = Part("gateway")
    exported = shlex.split((house.data / "env").read_text())
    environ = dict(word.split("=", 1) for word in exported if "=" in word) | {
        # So little patience with a full hashing pool that a crowd makes it refuse: there is a 5xx.
        "HOLDFAST_IDENTITY_HASH_DEADLINE_S": "0.05",
        "HOLDFAST_GATEWAY_UPSTREAMS": ",".join(f"{app.name}={app.url}" for app in apps),
        "HOLDFAST_LIMITS": "off",
    }
    with ExitStack() as stack:
        for part in (*apps, gateway):
            stack.enter_context(part.serve(environ))
        until(lambda: all(part.is_ready() for part in (*apps, gateway)))
        yield {part.name: part for part in (*apps, gateway)}


async def _use(house: Up, url: str) -> None:
    """Somebody signs in, looks around and buys; others try passwords."""
    async with aiohttp.ClientSession(url) as http:

        async def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
            async with http.request(method, path, json=body, headers=headers) as answer:
                return answer.status, await answer.json()

        async def ask_again(*asked: Any, **headers: str) -> tuple[int, Any]:
            """Until nobody is busy: as little patience as there is here may be too little for one."""
            while (answer := await ask(*asked, **headers))[0] == 503:
                await asyncio.sleep(0.05)
            return answer

        def signing_in(email: str, password: str) -> tuple[str, str, dict[str, str]]:
            return "POST", "/api/v1/auth/login", {"email": email, "password": password}

        email, password = house.account("User")
        status, told = await ask_again(*signing_in(email, password))
        assert status == 200
        token = told["data"]
        who = {"Authorization": f"Bearer {token['access_token']}"}
        refresh = {"refresh_token": token["refresh_token"]}
        assert (await ask("GET", "/api/v1/users/me", **who))[0] == 200
        assert (await ask("POST", "/api/v1/auth/refresh", refresh))[0] == 200
        assert (await ask("GET", "/api/v1/products/deals"))[0] == 200
        status, told = await ask("GET", "/api/v1/products")
        assert status == 200
        order = {"items": [{"offer_id": told["data"][0]["id"], "quantity": 1}]}
        headers = {**who, "Idempotency-Key": "one"}
        assert (await ask_again("POST", "/api/v1/orders", order, **headers))[0] == 201
        assert (await ask_again(*signing_in(email, "not the password")))[0] == 401
        crowd = [ask(*signing_in(f"nobody{i}@example.com", password)) for i in range(60)]
        assert 503 in {status for status, _ in await asyncio.gather(*crowd)}


def _scrape(port: int) -> str:
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _series(text: str, *, job: str) -> Series:
    found = re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    scraped = {"job": job, "instance": "127.0.0.1"}
    return [(name, {**dict(re.findall(r'(\w+)="(.*?)"', told)), **scraped}) for name, told in found]


def _unknown(expression: str, shown: Series, legend: str = "") -> list[str]:
    """What an expression or its legend asks for and no process shows."""
    asked = asked_by(expression)
    missing, labels = [], set[str]()
    for name, matchers in asked.selectors:
        if name in RECORDED:
            labels |= RECORDED[name].labels
        if name in RECORDED or name in BY_PROMETHEUS:
            continue
        fitting = [series for metric, series in shown if metric == name and _fits(series, matchers)]
        labels |= {label for series in fitting for label in series}
        if not fitting:
            missing.append(f"{name}{matchers}")
    wanted = asked.labels | set(re.findall(r"{{(\w+)}}", legend))
    return missing + sorted(wanted - labels)


def test_every_rule_asks_for_what_is_shown(rules_file: Path, shown: Series) -> None:
    for rule in _rules(rules_file):
        assert not _unknown(rule["expr"], shown), rule


def test_every_panel_asks_for_what_is_shown(dashboard: dict[str, Any], shown: Series) -> None:
    for title, expression, legend in _expressions(dashboard):
        assert not _unknown(expression, shown, legend), title


@pytest.mark.parametrize(
    "wrong",
    [
        "holdfast_http_request_total",
        'sum(rate(holdfast_http_requests_total{job="identity",code="5xx"}[5m]))',
        'holdfast_hashing_passwords{state="waiting"}',
        'holdfast_http_requests_total{route=~"/v2/.*"}',
        'holdfast_orders_total{job="catalog"}',
        "sum by (route, handler) (holdfast_http_requests_total)",
    ],
)
def test_a_name_label_or_value_that_nothing_shows_is_found(wrong: str, shown: Series) -> None:
    assert _unknown(wrong, shown)


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
    for alert in alerts:
        told = alert["annotations"]
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert told.keys() == {"summary", "description", "runbook"}
        page, _, anchor = told["runbook"].partition("#")
        assert anchor in _anchors(repository / page), alert["alert"]


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_alert_has_a_story_in_which_it_fires(
    alerts: list[dict[str, Any]], rules_file: Path
) -> None:
    samples = [
        sample
        for story in _read(_stories(rules_file))["tests"]
        for test in story["promql_expr_test"]
        for sample in test["exp_samples"]
    ]
    firing = set(re.findall(r'alertname="(\w+)"', str(samples)))
    assert firing == {alert["alert"] for alert in alerts}


@needs_promtool
def test_promtool_plays_the_stories(rules_file: Path) -> None:
    _promtool("check", "rules", rules_file)
    _promtool("test", "rules", _stories(rules_file))


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
