"""The table as a declarative configuration of Kong 3 (format 3.0). No Kong has ever loaded it.

Its structure is tested against the table: each route is there once, and the order in which Kong
tries them finds the same one. Put identity's public RSA key where it says so; until then Kong
refuses the file. What Kong without its enterprise plugins cannot do as the table means it:

- It reads no key set: the key is in this file, there is one, and a change of keys is a change of
  the file. It does not look at a token's audience. A page's cookie is not turned into a token.
- A route has one plugin of a kind, so only limits by address are here, in windows that stand still.
  A user's limit would need a consumer for each user.
- Its breaker counts failures in a row, not their share, and asks /health/live whether to go on.
- A timeout holds between two pieces of an answer as it does before the first, and tries again
  count for each request, without a budget.
- Its refusals are its own JSON, not problem+json. Compression and trusted proxies are settings of
  its nginx: KONG_NGINX_PROXY_GZIP, KONG_TRUSTED_IPS.
"""

from collections.abc import Iterable
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.limits import Limit
from holdfast.gateway.surroundings import Surroundings
from holdfast.gateway.table import Breaker, Route, Table

Json = dict[str, Any]

PERIODS = {1: "second", 60: "minute", 3600: "hour"}
FAILURES = [500, 502, 503, 504]
PUT_IT_HERE = (
    "-----BEGIN PUBLIC KEY-----\nput identity's RS256 key here\n-----END PUBLIC KEY-----\n"
)


def render(table: Table, around: Surroundings) -> Json:
    return {
        "_format_version": "3.0",
        "upstreams": [
            _upstream(name, address, table.breaker) for name, address in around.upstreams.items()
        ],
        "services": list(_services(table, around)),
        "consumers": [_identity(around)],
        "plugins": _everywhere(around),
    }


def _services(table: Table, around: Surroundings) -> Iterable[Json]:
    """Kong has its timeouts at services: there is one for each upstream and timeout."""
    kinds = sorted({(route.upstream, route.timeout_s) for route in table.routes})
    for upstream, timeout_s in kinds:
        secure = around.upstreams[upstream].startswith("https:")
        yield {
            "name": f"{upstream}-{timeout_s:g}s",
            "host": upstream,
            "protocol": "https" if secure else "http",
            "connect_timeout": 1000,
            "write_timeout": round(timeout_s * 1000),
            "read_timeout": round(timeout_s * 1000),
            "retries": table.retries.most,  # Kong asks again only where that changes nothing
            "routes": [
                _route(route, len(table.routes) - rank, table, around)
                for rank, route in enumerate(table.routes)
                if (route.upstream, route.timeout_s) == (upstream, timeout_s)
            ],
        }


def _route(route: Route, priority: int, table: Table, around: Surroundings) -> Json:
    """A prefix of Kong's ends anywhere, also inside a segment; an expression ends where we say."""
    return {
        "name": _name(route),
        "paths": [f"~{route.pattern}$"],
        "regex_priority": priority,
        "strip_path": False,
        "preserve_host": True,
        "response_buffering": not route.stream,
        "plugins": list(_plugins(route, table, around)),
    }


def _name(route: Route) -> str:
    return route.path.translate(str.maketrans("/", "-", "{}")).strip("-.") or "root"


def _plugins(route: Route, table: Table, around: Surroundings) -> Iterable[Json]:
    yield _plugin(
        "request-size-limiting", allowed_payload_size=route.largest_body, size_unit="bytes"
    )
    if route.access == "signed_in":
        yield _plugin(
            "jwt",
            key_claim_name="iss",
            claims_to_verify=["exp"],
            uri_param_names=[],
            cookie_names=[],
            run_on_preflight=False,
        )
    limits = [table.limits[name] for name in route.limits]
    if around.settings.limits == "on" and (counts := _counts(limits)):
        yield _plugin("rate-limiting", **counts, limit_by="ip", policy="local")


def _counts(limits: Iterable[Limit]) -> dict[str, int]:
    """By address; of two limits for the same period the smaller one says all."""
    counts: dict[str, int] = {}
    for limit in limits:
        if limit.scope == "ip":
            period = PERIODS[limit.period_s]
            counts[period] = min(limit.count, counts.get(period, limit.count))
    return counts


def _upstream(name: str, address: str, breaker: Breaker) -> Json:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    in_a_row = ceil(breaker.least_calls * breaker.open_at)
    passive = {
        "type": parts.scheme,
        "unhealthy": {
            "http_statuses": FAILURES,
            "http_failures": in_a_row,
            "tcp_failures": in_a_row,
            "timeouts": in_a_row,
        },
    }
    active = {
        "type": parts.scheme,
        "http_path": "/health/live",
        # It is asked only while it is broken: an interval of 0 is never.
        "healthy": {"interval": 0, "successes": breaker.probes},
        "unhealthy": {"interval": breaker.open_for_s},
    }
    return {
        "name": name,
        "targets": [{"target": f"{parts.hostname}:{port}", "weight": 100}],
        "healthchecks": {"passive": passive, "active": active},
    }


def _identity(around: Surroundings) -> Json:
    secret = {
        "key": around.settings.origin,
        "algorithm": "RS256",
        "rsa_public_key": PUT_IT_HERE,
    }
    return {"username": "identity", "jwt_secrets": [secret]}


def _everywhere(around: Surroundings) -> list[Json]:
    plugins = [
        _plugin(
            "correlation-id", header_name="X-Request-Id", generator="uuid", echo_downstream=True
        )
    ]
    if origins := sorted(around.options.cors_origins):
        plugins.append(_plugin("cors", origins=origins, max_age=600))
    return plugins


def _plugin(name: str, **config: Any) -> Json:
    return {"name": name, "config": config}
