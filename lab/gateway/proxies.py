"""nginx and Envoy as plain proxies before one upstream, and nginx as that upstream: set up as for a
benchmark, one worker each, connections kept, nothing written down.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from holdfast.cli.servers import free_port
from lab.machine import on
from lab.servers import HOST, NotReadyError, Served, until_ready

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {inside}
}}
"""
CONSTANT = """
  server {{
    listen {host}:{port}; default_type application/json;
    location / {{ return 200 '{body}'; }}
  }}
"""
PASSING = """
  upstream behind {{ server {host}:{behind}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen {host}:{port};
    location / {{
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
"""
TYPE = "type.googleapis.com/envoy.extensions."
MANAGER = "filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "filters.http.router.v3.Router"


class MissingError(Exception):
    """A program that the benchmark compares with is not installed."""


def program(name: str) -> str:
    """Debian's, or one that came with a package of ours."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name, path="/usr/sbin:/usr/bin")
    if found is None:
        raise MissingError(f"{name} is not installed. On Debian: apt-get install {name}")
    return found


@contextmanager
def constant(body: str, core: int) -> Iterator[Served]:
    """An upstream that costs next to nothing: nginx with one answer."""
    port = free_port()
    with _nginx(CONSTANT.format(host=HOST, port=port, body=body), port, core) as served:
        yield served


@contextmanager
def nginx(upstream: Served, core: int) -> Iterator[Served]:
    port = free_port()
    inside = PASSING.format(host=HOST, port=port, behind=upstream.port)
    with _nginx(inside, port, core) as served:
        yield served


@contextmanager
def envoy(upstream: Served, core: int) -> Iterator[Served]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "envoy.json"
        file.write_text(json.dumps(_envoy(upstream.port, port)), encoding="utf-8")
        command = [program("envoy"), "--config-path", str(file), "--concurrency", "1"]
        command += ["--disable-hot-restart", "--log-level", "error"]
        with _started(command, port, core) as served:
            yield served


@contextmanager
def _nginx(inside: str, port: int, core: int) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nginx.conf"
        file.write_text(NGINX.format(folder=folder, inside=inside), encoding="utf-8")
        with _started([program("nginx"), "-c", str(file)], port, core) as served:
            yield served


@contextmanager
def _started(command: Sequence[str], port: int, core: int) -> Iterator[Served]:
    with on(core):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until_ready(port, "/", process)
        yield Served(port, process.pid)
    except NotReadyError:
        process.kill()
        sys.stderr.write((process.communicate()[1] or b"").decode(errors="replace"))
        raise
    finally:
        process.terminate()
        process.communicate()


def _envoy(behind: int, port: int) -> dict[str, object]:
    router = {
        "name": "router",
        "typed_config": {"@type": TYPE + ROUTER, "suppress_envoy_headers": True},
    }
    everything = {"match": {"prefix": "/"}, "route": {"cluster": "behind"}}
    manager = {
        "@type": TYPE + MANAGER,
        "stat_prefix": "in",
        "use_remote_address": True,
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [everything]}]
        },
        "http_filters": [router],
    }
    listener = {
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoint = {"endpoint": {"address": _address(behind)}}
    cluster = {
        "name": "behind",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "behind",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": HOST, "port_value": port}}
