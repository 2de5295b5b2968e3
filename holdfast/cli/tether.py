"""A tether: becomes the program that it is told to run, tied to its parent and alone in its folder.

A program started through here gets a signal when its parent dies, however it dies; holds the
lock of its folder for as long as it or a child of its own lives; and, where it refuses to be root
as PostgreSQL does, runs as nobody. It replaces itself by the program, so the pid stays the same.
It starts nothing else, restarts nothing and watches nothing: that is the supervisor's work.
"""

import argparse
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import time
from pathlib import Path

NOBODY = 65534
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
LOCK_NAME = "lock"
LOCK_WAIT_S = 5.0  # a predecessor's last children need a moment to notice that they are orphans
UNUSABLE = 78  # EX_CONFIG: starting again would not help


class TetherError(Exception):
    """The program cannot be started here; the sentence says why."""


def argv(
    *program: str | Path,
    when_orphaned: signal.Signals,
    folder: Path | None = None,
    not_root: bool = False,
) -> tuple[str, ...]:
    """The command line that makes `program` a tethered child of the process that asks."""
    told = ["--parent", str(os.getpid()), "--signal", when_orphaned.name]
    if folder:
        told += ["--folder", str(folder)]
    if not_root:
        told += ["--not-root"]
    return (sys.executable, "-m", __name__, *told, "--", *map(str, program))


def main() -> None:
    told = _arguments()
    try:
        if told.folder:
            _lock(told.folder)
        if told.not_root and os.geteuid() == 0:
            _leave_root(told.folder, told.program[0])
        _die_with(told.parent, signal.Signals[told.signal])
        os.execv(told.program[0], told.program)  # noqa: S606 - no shell is the point
    except (TetherError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(UNUSABLE)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tether")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--signal", required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--not-root", action="store_true")
    parser.add_argument("program", nargs="+")
    return parser.parse_args()


def _lock(folder: Path) -> None:
    """The descriptor is inherited, so the kernel frees the lock when the last heir is gone."""
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    give_up_at = time.monotonic() + LOCK_WAIT_S
    while not _try_lock(descriptor):
        if time.monotonic() > give_up_at:
            holder = os.read(descriptor, 20).decode() or "unknown"
            raise TetherError(
                f"{folder} is in use: the process with pid {holder} holds it. Stop that process,"
                " or choose another folder."
            )
        time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    os.set_inheritable(descriptor, True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _leave_root(folder: Path | None, program: str) -> None:
    """Into a user namespace where root is called nobody; where that is refused, be nobody."""
    namespaced = can_rename_root()
    if folder:
        _hand_over(folder, 0 if namespaced else NOBODY)
    if namespaced:
        _rename_root()
        return
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    for path in (Path(program), folder):
        if path and not os.access(path, os.X_OK):
            raise TetherError(
                f"This program refuses to run as root, and the user nobody cannot reach {path}."
                " Run as a plain user, or keep the folder where every user may enter."
            )


def _hand_over(folder: Path, owner: int) -> None:
    if folder.stat().st_uid == owner:
        return
    for path in (*folder.rglob("*"), folder):
        shutil.chown(path, owner, owner)


def can_rename_root() -> bool:
    """Tried in a child, because a half-made namespace cannot be left again."""
    child = os.fork()
    if child == 0:
        try:
            _rename_root()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _rename_root() -> None:
    _libc_call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} 0 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} 0 1")


def _die_with(parent: int, by: signal.Signals) -> None:
    """Last before the program, because a change of user forgets it."""
    _libc_call("prctl", PR_SET_PDEATHSIG, int(by))
    if os.getppid() != parent:
        raise TetherError("The parent was gone before its child had started.")


def _libc_call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
