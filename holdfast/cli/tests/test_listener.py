import os
import socket
from pathlib import Path

import pytest

from holdfast.cli.listener import PortError, holder, listen
from holdfast.cli.servers import free_port


def test_a_port_conflict_names_its_holder_and_a_way_out() -> None:
    port = free_port()
    with listen(port), pytest.raises(PortError) as refused:
        listen(port)
    assert f"Port {port} is taken by pid {os.getpid()} (" in str(refused.value)
    assert f"--port {port + 1}" in str(refused.value)


def test_a_holder_is_found_although_it_closes_something_meanwhile() -> None:
    with Path(os.devnull).open():  # its place is free then, and comes before the port's
        listening = listen(port := free_port())
    with listening:  # it is we who are looked at, so the look itself is what is closed
        assert str(holder(port)).startswith(f"pid {os.getpid()} (")


def test_a_port_that_is_only_connected_to_has_no_holder() -> None:
    port = free_port()
    assert holder(port) is None
    with listen(port) as listening, socket.create_connection(("127.0.0.1", port)):
        listening.accept()[0].close()
        assert holder(port)


def test_a_port_can_be_had_again_at_once() -> None:
    port = free_port()
    with listen(port) as listening, socket.create_connection(("127.0.0.1", port)):
        listening.accept()[0].close()  # what is left of this connection waits in the kernel
    listen(port).close()
