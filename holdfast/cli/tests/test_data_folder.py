import os
import subprocess
from pathlib import Path

import pytest

from holdfast.cli.data_folder import (
    RUN_NAME,
    DataFolderError,
    data_folder,
    kept_secret,
    write_environment,
)


def test_a_temporary_folder_leaves_nothing() -> None:
    with data_folder(None) as folder:
        kept_secret(folder)
    assert not folder.exists()


def test_a_named_folder_keeps_its_secret_from_others(tmp_path: Path) -> None:
    with data_folder(tmp_path / "data") as folder:
        first = kept_secret(folder)
        assert (folder / "secret").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o066 == 0
    with data_folder(tmp_path / "data") as folder:
        assert kept_secret(folder) == first


def test_a_second_user_is_told_where_the_first_is(tmp_path: Path) -> None:
    with data_folder(tmp_path / "data") as folder:
        (folder / RUN_NAME).write_text('{"url": "http://127.0.0.1:8123"}')
        with pytest.raises(DataFolderError) as refused, data_folder(folder):
            pass
    told = str(refused.value)
    assert told.startswith(f"Already running: pid {os.getpid()}, url http://127.0.0.1:8123")


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(DataFolderError, match="other things"), data_folder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_environment_can_be_read_by_a_shell(tmp_path: Path) -> None:
    path = write_environment(tmp_path, {"DATABASE_URL": "postgresql://a:$b@c/d", "OTHER": "1 2"})
    assert path.stat().st_mode & 0o777 == 0o600
    script = f'. {path}; echo "$DATABASE_URL $OTHER"'
    told = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "postgresql://a:$b@c/d 1 2\n"
