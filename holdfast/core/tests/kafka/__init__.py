"""A real Kafka for tests: one node, on loopback, in a folder of its own, from the jars of `pom.xml`.

Maven fetches them once, and keeps them where it keeps everything. The broker is as Kafka makes it,
so it also makes topics by itself when somebody asks for one that is missing.
"""

import fcntl
import re
import shutil
import signal
import socket
import subprocess
from base64 import urlsafe_b64encode
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

from holdfast.cli import tether
from holdfast.cli.servers import Server, ServerError, free_port

OLDEST_JAVA = 17
POM = Path(__file__).with_name("pom.xml")
JAVA = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
LOGGER = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def why_not() -> str | None:
    """What to install where there is no Kafka to be had; nothing where there is."""
    if not shutil.which("mvn") or _java_version() < OLDEST_JAVA:
        return "Kafka is not tested: install Java 17 or newer, and Maven (the command mvn)."
    return None


def kafka(data: Path, port: int) -> Server:
    data.mkdir(parents=True, exist_ok=True)
    classpath, properties = _classpath(data), data / "server.properties"
    properties.write_text("\n".join(_properties(data, port)), encoding="utf-8")
    java = (_java(), *JAVA, LOGGER, "-cp", classpath)
    return Server(
        name="kafka",
        port=port,
        url=f"kafka://127.0.0.1:{port}",
        data=data,
        argv=tether.argv(
            *java, "kafka.Kafka", properties, when_orphaned=signal.SIGKILL, folder=data
        ),
        stop_signal=signal.SIGKILL,  # what it has is for this run only
        prepare=partial(_format, data, java, properties),
        is_ready=lambda _: _is_open(port),
    )


def _properties(data: Path, port: int) -> list[str]:
    control = free_port()
    return [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@127.0.0.1:{control}",
        f"listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}",
        "listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name=BROKER",
        "controller.listener.names=CONTROLLER",
        f"log.dirs={data / 'log'}",
        "broker.session.timeout.ms=1000",
        "broker.heartbeat.interval.ms=200",
    ]


def _format(data: Path, java: tuple[str, ...], properties: Path) -> None:
    """Make the storage of a new cluster, where there is none."""
    if (data / "log" / "meta.properties").exists():
        return
    cluster = urlsafe_b64encode(b"\0" + uuid4().bytes[1:]).decode().rstrip("=")
    _run(*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties))


def _classpath(data: Path) -> str:
    file = data / "classpath"
    if not file.exists():
        goal = ("dependency:build-classpath", f"-Dmdep.outputFile={file}")
        with POM.open("rb") as one_at_a_time:  # Maven's store is not for several at once
            fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
            _run("mvn", "-q", "-B", "-f", str(POM), *goal)
    return file.read_text(encoding="utf-8").strip()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise ServerError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _java() -> str:
    return shutil.which("java") or ""


def _java_version() -> int:
    if not _java():
        return 0
    told = subprocess.run([_java(), "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r'version "(\d+)', told.stderr)
    return int(found[1]) if found else 0


def _is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False
