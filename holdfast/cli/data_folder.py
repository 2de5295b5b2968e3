"""The data folder of one `holdfast up`: who uses it, its secret, and the environment of its parts.

A folder is used by one supervisor at a time; a second one is told where the first can be found.
A folder that was not asked for by name is temporary and leaves nothing behind.
"""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "holdfast.lock"
RUN_NAME = "run.json"
ENVIRONMENT_NAME = "env"


class DataFolderError(Exception):
    """The folder cannot be used now, or must not be."""


@contextmanager
def data_folder(wanted: Path | None) -> Iterator[Path]:
    """The folder, held until the end of the block."""
    folder = wanted.absolute() if wanted else Path(tempfile.mkdtemp(prefix="holdfast-"))
    try:
        _make(folder)
        with _held(folder):
            yield folder
    finally:
        if not wanted:
            shutil.rmtree(folder, ignore_errors=True)


def kept_secret(folder: Path) -> str:
    """Made once, so that what it signed or sealed outlives a restart."""
    path = folder / "secret"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48))
    return path.read_text(encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def write_environment(folder: Path, environ: Mapping[str, str]) -> Path:
    """For a shell: other commands reach the same servers after reading this."""
    path = folder / ENVIRONMENT_NAME
    write_private(path, "".join(f"export {name}='{value}'\n" for name, value in environ.items()))
    return path


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except (FileExistsError, NotADirectoryError):
        raise DataFolderError(f"{folder} is not a folder.") from None
    except PermissionError:
        raise DataFolderError(f"This user may not use {folder}. Choose another --data.") from None
    if not empty and not (folder / LOCK_NAME).exists():
        raise DataFolderError(f"{folder} holds other things. Choose a new or an empty folder.")
    if os.geteuid() == 0:
        folder.chmod(0o711)  # servers that refuse to be root must pass through, and see nothing


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        lock = (folder / LOCK_NAME).open("a")
    except PermissionError:
        raise DataFolderError(f"{folder} belongs to another user. Choose another --data.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderError(f"Already running: {_who_runs(folder)}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _who_runs(folder: Path) -> str:
    pid = (folder / LOCK_NAME).read_text()
    try:
        url = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))["url"]
    except FileNotFoundError:
        url = "not there yet"
    return f"pid {pid}, url {url} (data in {folder})."
