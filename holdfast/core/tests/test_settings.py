import re
from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from holdfast.core.settings import PROFILES, Environment, Profile, Settings, SettingsError

GIVEN = {
    "DATABASE_URL": "postgresql://a@b/c",
    "REDIS_URL": "redis://b",
    "HOLDFAST_SECRET": "long enough to be a secret of production",
}
PRODUCTION = {
    **GIVEN,
    "HOLDFAST_PROFILE": "production",
    "HOLDFAST_ORIGIN": "https://example.com",
}


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ)
    return str(caught.value)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_gives_every_value_that_is_not_given(profile: Profile) -> None:
    settings = Settings.load({**PRODUCTION, "HOLDFAST_PROFILE": profile})
    assert settings.profile == profile
    assert {name: getattr(settings, name) for name in PROFILES[profile]} == PROFILES[profile]


def test_a_variable_overrides_one_value_of_its_profile() -> None:
    settings = Settings.load({**PRODUCTION, "HOLDFAST_WORKERS": "3"})
    assert settings.workers == 3
    assert settings.db_pool_max == PROFILES["production"]["db_pool_max"]


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert Settings.load({**GIVEN, "HOLDFAST_WORKERS": ""}).workers == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_PROFILE", "prod"),
        ("HOLDFAST_LIMITS", "maybe"),
        ("HOLDFAST_ORIGIN", "https://example.com/path"),
        ("HOLDFAST_TRUSTED_PROXIES", "10.0.0.0/8, everyone"),
        ("HOLDFAST_DB_POOL_MAX", "0"),
        ("HOLDFAST_REDIS_POOL", "many"),
        ("HOLDFAST_WORKERS", "-1"),
        ("HOLDFAST_LEASE_S", "0"),
        ("HOLDFAST_DRAIN_S", "nan"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable_and_value(name: str, value: str) -> None:
    assert refused({**GIVEN, name: value}).startswith(f"{name}={value}: ")


def test_every_wrong_value_is_named_at_once() -> None:
    told = refused({"HOLDFAST_WORKERS": "0", "HOLDFAST_LEASE_S": "x"})
    names = {re.split("[:= ]", line)[0] for line in told.splitlines()}
    assert names == {*GIVEN, "HOLDFAST_WORKERS", "HOLDFAST_LEASE_S"}


@pytest.mark.parametrize("name", [*GIVEN, "DATABASE_REPLICA_URL"])
def test_a_wrong_secret_is_refused_without_telling_it(name: str) -> None:
    told = refused({**GIVEN, name: "hunter2"})
    assert name in told
    assert "hunter2" not in told


def test_a_pool_cannot_be_larger_at_least_than_at_most() -> None:
    assert "HOLDFAST_DB_POOL_MIN" in refused({**GIVEN, "HOLDFAST_DB_POOL_MIN": "11"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_LIMITS", "off"),
        ("HOLDFAST_ORIGIN", "http://example.com"),
    ],
)
def test_production_refuses_what_only_development_may(name: str, value: str) -> None:
    assert name in refused({**PRODUCTION, name: value})
    Settings.load({**PRODUCTION, name: value, "HOLDFAST_PROFILE": "development"})


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_missing_is_named_with_what_to_do(name: str) -> None:
    told = refused({**GIVEN, name: ""})
    assert told.startswith(f"{name} is not set. ")


def test_trusted_proxies_are_a_list_of_networks_and_nobody_by_default() -> None:
    settings = Settings.load({**GIVEN, "HOLDFAST_TRUSTED_PROXIES": "10.0.0.0/8, ::1"})
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert Settings.load(GIVEN).trusted_proxies == ()


def test_settings_do_not_change_while_the_process_runs() -> None:
    settings = Settings.load(GIVEN)
    with pytest.raises(ValidationError):
        settings.workers = 2  # type: ignore[misc]  # that it cannot be is what is tested


def test_an_app_reads_its_own_fields_by_its_own_prefix() -> None:
    class Options(Environment):
        prefix = "SHOP_"
        tables: int

    assert Options.load({"SHOP_TABLES": "7", "HOLDFAST_TABLES": "8"}).tables == 7
    with pytest.raises(SettingsError, match=r"^SHOP_TABLES=x: "):
        Options.load({"SHOP_TABLES": "x"})
    with pytest.raises(SettingsError, match=r"^SHOP_TABLES is not set"):
        Options.load({})
