"""Companions: what stands in for somebody else's service, where `holdfast up` needs one."""

from urllib.parse import urlsplit

import pytest

from holdfast.cli.tests.test_main import holdfast
from holdfast.cli.up import _companions
from holdfast.core.manifest import Companion, apps
from holdfast.core.settings import Settings

COMPANIONS = [companion for app in apps() for companion in app.companions]
ENVIRON = {
    "DATABASE_URL": "postgresql://127.0.0.1/none",
    "REDIS_URL": "redis://127.0.0.1/0",
    "HOLDFAST_SECRET": "only to load the settings, nothing is started",
}
PRODUCTION = {"HOLDFAST_PROFILE": "production", "HOLDFAST_ORIGIN": "https://shop.example"}
each_companion = pytest.mark.parametrize("companion", COMPANIONS, ids=lambda each: each.name)


@each_companion
def test_its_command_is_there_and_takes_a_port(companion: Companion) -> None:
    told = holdfast(*companion.command, "--help")
    assert told.returncode == 0
    assert "--port" in told.stdout


def test_everyone_is_told_where_it_is() -> None:
    environ = dict(ENVIRON)
    found = _companions(Settings.load(environ), environ)
    assert list(found.values()) == COMPANIONS
    for address, companion in found.items():
        assert environ[companion.address] == address
        assert urlsplit(address).port


@each_companion
def test_none_is_needed_where_the_service_is_given(companion: Companion) -> None:
    environ = ENVIRON | {companion.address: "https://real.example"}
    assert companion not in _companions(Settings.load(environ), environ).values()
    assert environ[companion.address] == "https://real.example"


def test_there_is_none_in_production() -> None:
    environ = ENVIRON | PRODUCTION
    assert _companions(Settings.load(environ), environ) == {}
    assert environ == ENVIRON | PRODUCTION
