"""The table rendered for other doors: what can be seen of it without one that runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.main import main
from holdfast.gateway import table
from holdfast.gateway.envoy import AMBIGUOUS
from holdfast.gateway.paths import REWRITTEN
from tests.doors import ENVOY, TABLE

HOUSE = table.read("production", table.FILE)
PRODUCTION = {"HOLDFAST_PROFILE": "production", "HOLDFAST_ORIGIN": "https://shop.example"}


def render(kind: str, **environ: str) -> Result:
    return CliRunner(env=PRODUCTION | environ).invoke(main, ["gateway", "render", kind])


def rendered(kind: str, **environ: str) -> Any:
    result = render(kind, **environ)
    assert result.exit_code == 0, result.output
    return yaml.safe_load(result.stdout)


def sampled(routes: table.Table) -> Iterator[str]:
    """Around every route: itself, below it, beside it."""
    for route in routes.routes:
        path = table.SEGMENT.sub("7", route.path)
        yield from (
            path,
            path.rstrip("/") + "/",
            path + "/below",
            path + "beside",
            path[:-1] or "/",
        )


def test_every_route_is_in_kong_once_on_its_terms() -> None:
    kong = rendered("kong")
    found = {
        path: (service, route)
        for service in kong["services"]
        for route in service["routes"]
        for path in route["paths"]
    }
    assert len(found) == sum(len(service["routes"]) for service in kong["services"])
    assert found.keys() == {f"~{route.pattern}$" for route in HOUSE.routes}
    names = [route["name"] for _, route in found.values()]
    assert len(set(names)) == len(names)
    for route in HOUSE.routes:
        service, rendering = found[f"~{route.pattern}$"]
        assert (service["host"], service["read_timeout"]) == (
            route.upstream,
            route.timeout_s * 1000,
        )
        plugins = {plugin["name"]: plugin["config"] for plugin in rendering["plugins"]}
        assert ("jwt" in plugins) == (route.access == "signed_in")
        assert plugins["request-size-limiting"]["allowed_payload_size"] == route.largest_body
        assert plugins["rate-limiting"]["second"] == HOUSE.limits["address"].count


@pytest.mark.parametrize("file", [table.FILE, TABLE], ids=["house", "doors"])
def test_kong_tries_routes_in_an_order_that_finds_what_the_table_finds(file: Path) -> None:
    routes = table.read("development", file)
    upstreams = ",".join(f"{route.upstream}=http://one:1" for route in routes.routes)
    kong = rendered(
        "kong",
        HOLDFAST_PROFILE="development",
        HOLDFAST_GATEWAY_TABLE=str(file),
        HOLDFAST_GATEWAY_UPSTREAMS=upstreams,
    )
    tried = sorted(
        (-route["regex_priority"], route["paths"][0][1:])
        for service in kong["services"]
        for route in service["routes"]
    )
    for path in sampled(routes):
        first = next((pattern for _, pattern in tried if re.match(pattern, path)), None)
        route = routes.find(path)
        assert first == (route and f"{route.pattern}$"), path


def test_kong_is_not_said_to_have_been_tried() -> None:
    head = render("kong").stdout.partition("_format_version")[0]
    assert "No Kong has ever loaded it" in head
    assert all(line.startswith("#") for line in head.splitlines())


def test_envoy_takes_what_is_rendered_for_a_house_behind_a_proxy_and_services_by_tls(
    tmp_path: Path,
) -> None:
    result = render(
        "envoy",
        HOLDFAST_GATEWAY_UPSTREAMS="orders=https://orders.example,catalog=http://catalog.example:81",
        HOLDFAST_TRUSTED_PROXIES="10.0.0.0/8,fd00::/8",
        HOLDFAST_GATEWAY_CORS_ORIGINS="https://friend.example",
    )
    file = tmp_path / "envoy.yaml"
    file.write_text(result.stdout, encoding="utf-8")
    checked = run(  # noqa: S603 - a file of ours
        [ENVOY, "--mode", "validate", "--log-level", "warning", "-c", str(file)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stderr  # nothing that the next version would refuse


def test_envoy_without_limits_counts_nothing() -> None:
    told = render("envoy", HOLDFAST_PROFILE="development", HOLDFAST_LIMITS="off").stdout
    assert "local_ratelimit" not in told
    assert "local_ratelimit" in render("envoy", HOLDFAST_PROFILE="development").stdout


@given(st.text("/.;%2eE5fF\\a~ ", max_size=12))
def test_envoy_refuses_the_paths_that_our_own_door_refuses(path: str) -> None:
    ours = REWRITTEN.search(b"/" + path.encode())
    assert bool(re.fullmatch(AMBIGUOUS, "/" + path)) == bool(ours)


def test_what_cannot_be_rendered_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(TABLE.read_text(encoding="utf-8"), encoding="utf-8")
    refused = render("envoy", HOLDFAST_PROFILE="development", HOLDFAST_GATEWAY_TABLE=str(file))
    assert refused.exit_code == 1
    assert "Say in HOLDFAST_GATEWAY_UPSTREAMS where to find: " in refused.output
    refused = render("envoy", HOLDFAST_PROFILE="nowhere")
    assert refused.exit_code == 1
    assert "HOLDFAST_PROFILE=nowhere" in refused.output
