"""The listening socket that all workers inherit, and who has it when we cannot.

Bound once by the supervisor: a restarted worker finds its socket open, waiting clients are kept by
the kernel meanwhile, and a port conflict is known before anything is started.
"""

import errno
import socket
from contextlib import suppress
from pathlib import Path

BACKLOG = 2048
LISTEN_STATE = "0A"


class PortError(Exception):
    """The port cannot be had; the sentence says who has it, where that can be seen."""


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise PortError(_explain(error, port)) from None
    listening.listen(BACKLOG)
    return listening


def holder(port: int) -> str | None:
    """The process that listens on the port, when the kernel lets us see it."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            if any(_leads_to(link) in inodes for link in descriptors.iterdir()):
                return _describe(descriptors.parent)
    return None


def _leads_to(link: Path) -> str:
    """Nowhere, if it was closed meanwhile; the process may have others."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def _explain(error: OSError, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            who = holder(port) or "another process, which this user may not see"
            return f"Port {port} is taken by {who}. Stop it, or choose another: --port {port + 1}"
        case errno.EACCES:
            return f"Port {port} needs more rights than this user has. Choose one above 1023."
    return f"Port {port} cannot be had: {error.strerror}."


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == LISTEN_STATE and int(local.rpartition(":")[2], 16) == port:
                    found.add(rest[5])
    return found


def _describe(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return f"pid {process.name} ({' '.join(words).strip()[:100]})"
