"""Contracts over gRPC: their stubs, who keeps them, and that their numbers keep their meaning."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

from checks.operations import named_tests, untested
from checks.protos import contracts, described, differing, generate, lost_numbers
from checks.test_routes import NOT_USED
from holdfast.core.manifest import App, apps
from holdfast.core.settings import Settings

each_contract = pytest.mark.parametrize("contract", contracts(), ids=str)


def test_the_stubs_are_those_of_the_contracts() -> None:
    stale = differing(generate())
    assert not stale, f"Run `make proto`, and commit: {', '.join(stale)}"


@each_contract
def test_a_package_is_called_as_its_folder(contract: Path) -> None:
    assert described(contract).package == ".".join(["holdfast", *contract.parent.parts])
    assert re.fullmatch(r"v\d+", contract.parent.name)


@each_contract
def test_no_number_is_thrown_away(contract: Path) -> None:
    told = FileDescriptorProto()
    described(contract).CopyToProto(told)
    lost = list(lost_numbers(told))
    assert not lost, f"{contract}: write `reserved` for {', '.join(lost)}"


@each_contract
def test_nothing_at_all_is_no_value_of_an_enum(contract: Path) -> None:
    for enum in described(contract).enum_types_by_name.values():
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED"), enum.full_name


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)
def test_every_method_is_offered_and_tested_by_its_stem(app: App) -> None:
    promised = {
        f"{service.full_name}/{method.name}": _stem(method.name)
        for contract in contracts()
        if contract.parts[0] == app.name
        for service in described(contract).services_by_name.values()
        for method in service.methods
    }
    offered = app.module("main").service(Settings.load(NOT_USED)).grpc()
    assert {name: method.__name__ for name, method in offered.items()} == promised
    assert not untested(promised.values(), named_tests(app.folder))


def test_a_number_that_is_thrown_away_is_reported() -> None:
    message = DescriptorProto(name="Offer")
    message.field.add(number=1)
    message.field.add(number=6)
    message.reserved_range.add(start=2, end=4)  # the end is not part of it; in an enum it is
    enum = EnumDescriptorProto(name="Kind")
    enum.value.add(number=0)
    enum.value.add(number=4)
    enum.reserved_range.add(start=2, end=3)
    contract = FileDescriptorProto(message_type=[message], enum_type=[enum])
    assert list(lost_numbers(contract)) == ["Offer: 4", "Offer: 5", "Kind: 1"]


def _stem(name: str) -> str:
    """`ListOffers` is our `list_offers`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
