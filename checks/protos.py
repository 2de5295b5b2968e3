"""From `contracts/proto` to `holdfast/stubs`: the message types of our gRPC methods, in Python.

One generated copy, on the lowest floor, so that a service and its callers mean the same by a
message. Methods are not generated: `core.rpc` serves and calls them by the names in the contract.
`python -m checks.protos generate` is `make proto`.
"""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

from holdfast.core.manifest import PACKAGE

REPOSITORY = PACKAGE.parent
CONTRACTS = REPOSITORY / "contracts" / "proto"
STUBS = "holdfast/stubs"
HEADER = '''"""Generated from contracts/proto/holdfast/{contract} by `make proto`; edit that file instead."""
# mypy: disable-error-code="type-arg"
'''


class GenerateError(Exception):
    """protoc refused a contract; its words say which and why."""


def main() -> None:
    if sys.argv[1:] != ["generate"]:
        sys.exit("Usage: python -m checks.protos generate")
    try:
        wanted = generate()
    except GenerateError as error:
        sys.exit(str(error))
    for name in differing(wanted):
        path = REPOSITORY / name
        path.unlink(missing_ok=True)
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        print(name)  # noqa: T201


def generate() -> dict[str, str]:
    """What each file of the stubs should be."""
    with TemporaryDirectory() as folder:
        made = Path(folder)
        # A generated module imports others by the folders of their contracts: here ours stand for them.
        mapped = f"-I{STUBS}={CONTRACTS}/holdfast"
        names = [f"{STUBS}/{contract}" for contract in contracts()]
        _run("grpc_tools.protoc", mapped, f"--python_out={made}", f"--pyi_out={made}", *names)
        for path in made.rglob("*_pb2.py*"):
            contract = path.relative_to(made / STUBS).with_name(f"{path.stem[:-4]}.proto")
            header = HEADER.format(contract=contract)
            path.write_text(header + path.read_text(encoding="utf-8"), encoding="utf-8")
            for package in path.relative_to(made / "holdfast").parents[:-1]:
                (made / "holdfast" / package / "__init__.py").touch()
        _run("ruff", "format", "--quiet", "--config", f"{REPOSITORY}/pyproject.toml", folder)
        return {
            str(path.relative_to(made)): path.read_text(encoding="utf-8")
            for path in made.rglob("*.py*")
        }


def differing(wanted: dict[str, str]) -> list[str]:
    """The files of the stubs that are not as they should be, or should not be."""
    there = {
        str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
        for path in (REPOSITORY / STUBS).rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    return sorted(
        name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
    )


def contracts() -> list[Path]:
    folder = CONTRACTS / "holdfast"
    return sorted(path.relative_to(folder) for path in folder.rglob("*.proto"))


def described(contract: Path) -> FileDescriptor:
    """The contract, as its stub tells it."""
    module = ".".join(contract.with_name(f"{contract.stem}_pb2").parts)
    found: FileDescriptor = import_module(f"holdfast.stubs.{module}").DESCRIPTOR
    return found


def lost_numbers(contract: FileDescriptorProto) -> Iterator[str]:
    """Numbers below the highest that are neither used nor reserved: somebody could use them again."""
    for message in contract.message_type:
        yield from _lost_in(message)
    for enum in contract.enum_type:
        yield from _lost_in_enum(enum)


def _lost_in(message: DescriptorProto) -> Iterator[str]:
    used = {field.number for field in message.field}
    reserved = {n for each in message.reserved_range for n in range(each.start, each.end)}
    for number in sorted(set(range(1, max(used, default=0))) - used - reserved):
        yield f"{message.name}: {number}"
    for inner in message.nested_type:
        yield from _lost_in(inner)
    for enum in message.enum_type:
        yield from _lost_in_enum(enum)


def _lost_in_enum(enum: EnumDescriptorProto) -> Iterator[str]:
    used = {value.number for value in enum.value}
    reserved = {n for each in enum.reserved_range for n in range(each.start, each.end + 1)}
    for number in sorted(set(range(max(used))) - used - reserved):
        yield f"{enum.name}: {number}"


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise GenerateError(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
