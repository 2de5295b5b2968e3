"""The table as a configuration of Envoy (made for and tested with 1.40): the same door, in front.

`tests/test_conformance.py` holds both doors to the same cases. What Envoy cannot do as the table
means it, and what is rendered instead:

- The breaker's window stands still: failures are counted from sweep to sweep (`window_s`), so that
  it opens and closes at the next sweep, up to a window late. Afterwards everything is let through,
  not a few probes. An upstream of several addresses is broken address by address.
- An id of a caller's is kept whatever it looks like. A path in broken UTF-8 is not refused.
- The budget for retries is a share of the requests under way, not of those of the window; and what
  has a body is asked again as well, since Envoy has it.
- Limits are counted by each Envoy alone, and for web sockets apart. Web sockets are let in only
  where the table says `stream`.
- Bodies are read whole before they are passed on, where they are limited, which is everywhere.
- A page's cookie is not turned into a token, and of a token's header only the key is looked at.
  Envoy knows no algorithm named Ed25519: identity must sign with HOLDFAST_IDENTITY_TOKEN_ALG=RS256.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.breaker import BreakerOpenError
from holdfast.core.compression import WORTH_COMPRESSING
from holdfast.core.errors import (
    NotFoundError,
    ProblemError,
    TooLargeError,
    UnauthenticatedError,
)
from holdfast.core.limits import BUCKETS_IN_MEMORY, Limit, TooManyRequestsError
from holdfast.core.protocol import (
    HEAD_WITHIN_S,
    LARGEST_HEAD,
    MOST_FIELDS,
    HeadTooLargeError,
    UnreadableError,
)
from holdfast.gateway import cors
from holdfast.gateway.door import OverloadedError
from holdfast.gateway.headers import TIME_LEFT
from holdfast.gateway.passage import LateError
from holdfast.gateway.paths import AmbiguousPathError
from holdfast.gateway.remote import UpstreamAwayError
from holdfast.gateway.surroundings import Surroundings
from holdfast.gateway.table import SEGMENT, Breaker, Retries, Route, Table
from holdfast.gateway.zipping import LEVEL, TEXTS

Json = dict[str, Any]

TYPES = "type.googleapis.com/envoy."
JWT = "envoy.filters.http.jwt_authn"
BUFFER = "envoy.filters.http.buffer"
COMPRESSOR = "envoy.filters.http.compressor"
CORS = "envoy.filters.http.cors"
KEYS = "keys"
WELL_KNOWN = "/etc/ssl/certs/ca-certificates.crt"  # authorities, as in Envoy's own images
# Without it a chunk that is longer than it says is cut to what it says, and passes.
STRICT = {"envoy.reloadable_features.strict_chunk_parsing": True}
ON: Json = {"@type": f"{TYPES}config.route.v3.FilterConfig", "config": {}}
TOKENS_REMEMBERED = 50_000
# Uvicorn closes what was idle for five seconds; a request must not meet that moment.
IDLE_S = 4
# As in `paths`, but by an engine that cannot look ahead.
AMBIGUOUS = (
    r".*(?://|/\.{1,2}(?:/|$)|[;\\]|[^!-~]"
    r"|%(?i:2[ef]|5c|3b|25|[01].|7f)|%(?:[^0-9a-fA-F]|[0-9a-fA-F](?:[^0-9a-fA-F]|$)|$)).*"
)
MAY_BE_ASKED_WITH = (
    "Authorization, Content-Type, Idempotency-Key, Admission, If-None-Match, Last-Event-ID,"
    " X-Request-Id, traceparent, *"  # a browser's star is everything but Authorization
)
# As in `zipping`: everything that is text but a stream of events.
TEXT = [
    *(f"text/{kind}" for kind in ("c", "html", "javascript", "markdown", "plain", "xml")),
    *(f"/{sub.decode()}" for sub in sorted(TEXTS)),
    *("+json", "+xml"),
]


def render(table: Table, around: Surroundings) -> Json:
    """A bootstrap of one listener. There is no admin port; who wants one adds it."""
    clusters = [
        _upstream(name, address, table, around) for name, address in around.upstreams.items()
    ]
    listener = {
        "name": "front_door",
        "address": _socket("0.0.0.0", around.port),  # noqa: S104 - a front door is for everybody
        "filter_chains": [{"filters": [_connections(table, around)]}],
    }
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [*clusters, _cluster(KEYS, around.keys_url)],
        },
        "layered_runtime": {"layers": [{"name": "strict", "static_layer": STRICT}]},
    }


# -- What comes in


def _connections(table: Table, around: Surroundings) -> Json:
    manager = {
        "stat_prefix": "front_door",
        "codec_type": "HTTP1",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": MOST_FIELDS,
        },
        "max_request_headers_kb": LARGEST_HEAD // 1024,
        "request_headers_timeout": _seconds(HEAD_WITHIN_S),
        "normalize_path": False,  # nothing is rewritten: what could be is refused by the first route
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": {
                "@type": f"{TYPES}extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,  # it would change an id that was kept
                "use_request_id_for_trace_sampling": False,
            }
        },
        "early_header_mutation_extensions": [_unbelieved_headers_removed(around)],
        **_whose_address(around),
        "upgrade_configs": [_web_sockets(table, around)],
        "route_config": _routes(table, around),
        "http_filters": _filters(table, around),
        "local_reply_config": _answers_of_its_own(table.breaker),
    }
    return _named(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        manager,
    )


def _web_sockets(table: Table, around: Surroundings) -> Json:
    """Only where a route says so, and without what waits for the end of a body."""
    filters = [each for each in _filters(table, around) if each["name"] not in {BUFFER, COMPRESSOR}]
    return {"upgrade_type": "websocket", "enabled": False, "filters": filters}


def _whose_address(around: Surroundings) -> Json:
    """The nearest address that is not a trusted proxy's; what a stranger forwards is not believed."""
    if not around.settings.trusted_proxies:
        return {"use_remote_address": True, "xff_num_trusted_hops": 0}
    trusted = [
        {"address_prefix": str(net.network_address), "prefix_len": net.prefixlen}
        for net in around.settings.trusted_proxies
    ]
    forwarded = _named(
        "envoy.http.original_ip_detection.xff",
        "extensions.http.original_ip_detection.xff.v3.XffConfig",
        {"xff_trusted_cidrs": {"cidrs": trusted}, "skip_xff_append": False},
    )
    return {"use_remote_address": False, "original_ip_detection_extensions": [forwarded]}


def _unbelieved_headers_removed(around: Surroundings) -> Json:
    """Envoy would take orders from a caller: how long to wait, and how often to ask again."""
    prefixes = ["x-envoy-"]
    if not around.settings.trusted_proxies:
        prefixes += ["x-forwarded-", "x-real-ip", "forwarded"]
    return _named(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        {
            "mutations": [
                {"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in prefixes
            ]
        },
    )


# -- Where it goes


def _routes(table: Table, around: Surroundings) -> Json:
    refusal = {"match": {"safe_regex": {"regex": AMBIGUOUS}}, "direct_response": {"status": 400}}
    host: Json = {
        "name": "house",
        "domains": ["*"],
        "request_headers_to_add": [_set("X-Forwarded-Host", "%REQ(:AUTHORITY)%")],
        "request_headers_to_remove": ["x-envoy-external-address"],
        "routes": [refusal, *(_route(route, table, around) for route in table.routes)],
    }
    return {"name": "table", "virtual_hosts": [host | _for_other_origins(around)]}


def _for_other_origins(around: Surroundings) -> Json:
    if not around.options.cors_origins:
        return {}
    policy = {
        "allow_origin_string_match": [
            {"exact": origin} for origin in sorted(around.options.cors_origins)
        ],
        "allow_methods": cors.METHODS.decode(),
        "allow_headers": MAY_BE_ASKED_WITH,
        "expose_headers": cors.READABLE.decode(),
        "max_age": cors.KEPT_S.decode(),
    }
    return {
        "typed_per_filter_config": {
            CORS: _typed("extensions.filters.http.cors.v3.CorsPolicy", policy)
        },
        "response_headers_to_add": [{"header": {"key": "Vary", "value": "Origin"}}],
    }


def _route(route: Route, table: Table, around: Surroundings) -> Json:
    """An answer must begin in time, and go on in time: the one idle timeout says both."""
    action: Json = {
        "cluster": route.upstream,
        "timeout": "0s",
        "idle_timeout": _seconds(route.timeout_s),
        "retry_policy": _retries(table.retries),
        "upgrade_configs": [{"upgrade_type": "websocket", "enabled": route.stream}],
    }
    return {
        "match": _match(route),
        "route": action,
        "request_headers_to_add": [_set(TIME_LEFT.decode(), f"{route.timeout_s * 1000:.0f}")],
        "typed_per_filter_config": {
            **{f"limit.{name}": ON for name in _limits(table, around) if name in route.limits},
            JWT: _typed(
                "extensions.filters.http.jwt_authn.v3.PerRouteConfig",
                {"requirement_name": route.access},
            ),
            BUFFER: _typed(
                "extensions.filters.http.buffer.v3.BufferPerRoute",
                {"buffer": {"max_request_bytes": route.largest_body}},
            ),
            COMPRESSOR: _typed(
                "extensions.filters.http.compressor.v3.CompressorPerRoute",
                {"disabled": True}
                if route.stream
                else {"overrides": {"response_direction_config": {}}},
            ),
        },
    }


def _match(route: Route) -> Json:
    if SEGMENT.search(route.path):
        return {"safe_regex": {"regex": route.pattern}}
    if route.exact:
        return {"path": route.path}
    if route.path == "/":
        return {"prefix": "/"}
    return {"path_separated_prefix": route.path.rstrip("/")}


def _retries(retries: Retries) -> Json:
    methods = "|".join(sorted(retries.methods))
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": retries.most,
        "retriable_request_headers": [
            {"name": ":method", "string_match": {"safe_regex": {"regex": methods}}}
        ],
    }


# -- What is done with each request, in this order


def _filters(table: Table, around: Surroundings) -> list[Json]:
    limits = _limits(table, around).values()
    strangers = [_limit(limit) for limit in limits if limit.scope != "user"]
    users = [_limit(limit) for limit in limits if limit.scope == "user"]
    return [
        _named(CORS, "extensions.filters.http.cors.v3.Cors", {}),
        *strangers,
        _tokens(around),
        *users,
        _bodies(),
        _gzip(),
        _named(
            "envoy.filters.http.router",
            "extensions.filters.http.router.v3.Router",
            {"suppress_envoy_headers": True},
        ),
    ]


def _tokens(around: Surroundings) -> Json:
    provider = {
        "issuer": around.settings.origin,
        "audiences": [around.settings.audience],
        "require_expiration": True,
        "clock_skew_seconds": 1,  # 0 would stand for a minute
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "forward": True,
        "payload_in_metadata": "token",
        "jwt_cache_config": {"jwt_cache_size": TOKENS_REMEMBERED},
        "remote_jwks": {
            "http_uri": {"uri": around.keys_url, "cluster": KEYS, "timeout": "3s"},
            "cache_duration": "300s",
        },
    }
    either: Json = {"provider_name": "identity"}
    return _named(
        JWT,
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        {
            "providers": {"identity": provider},
            "requirement_map": {
                "signed_in": either,
                # A user's limit counts wherever they are known.
                "public": {
                    "requires_any": {"requirements": [either, {"allow_missing_or_failed": {}}]}
                },
            },
            "strip_failure_response": True,
        },
    )


def _bodies() -> Json:
    """Off but where a route says how much: without a route it would wait for what nobody reads."""
    kind = "extensions.filters.http.buffer.v3.Buffer"
    return _named(BUFFER, kind, {"max_request_bytes": 1}) | {"disabled": True}


def _gzip() -> Json:
    return _named(
        COMPRESSOR,
        "extensions.filters.http.compressor.v3.Compressor",
        {
            "response_direction_config": {
                "common_config": {
                    "min_content_length": WORTH_COMPRESSING,
                    "content_type_matcher": [
                        {"contains": part, "ignore_case": True} for part in TEXT
                    ],
                },
                "weaken_etag_on_compress": True,
            },
            "compressor_library": _named(
                "gzip",
                "extensions.compression.gzip.compressor.v3.Gzip",
                {"compression_level": f"COMPRESSION_LEVEL_{LEVEL}"},
            ),
        },
    )


def _limits(table: Table, around: Surroundings) -> Mapping[str, Limit]:
    return table.limits if around.settings.limits == "on" else {}


def _limit(limit: Limit) -> Json:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    refusal = {
        "Retry-After": max(1, ceil(limit.interval_us / 1e6)),
        "RateLimit-Limit": limit.count,
        "RateLimit-Remaining": 0,
    }
    bucket = {
        "max_tokens": limit.count,
        "tokens_per_fill": limit.count,
        "fill_interval": _seconds(limit.period_s),
    }
    counting = _named(
        f"limit.{limit.name}",
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        {
            "stat_prefix": limit.name,
            "filter_enabled": always,
            "filter_enforced": always,
            "always_consume_default_token_bucket": False,
            "max_dynamic_descriptors": BUCKETS_IN_MEMORY,
            "rate_limits": [{"actions": [_counted_by(limit)]}],
            "descriptors": [{"entries": [{"key": _bucket_of(limit)}], "token_bucket": bucket}],
            "response_headers_to_add": [
                {"header": {"key": key, "value": str(value)}} for key, value in refusal.items()
            ],
        },
    )
    return counting | {"disabled": True}  # but where a route turns it on


def _bucket_of(limit: Limit) -> str:
    return {"ip": "masked_remote_address", "user": "user", "all": "generic_key"}[limit.scope]


def _counted_by(limit: Limit) -> Json:
    """Who nobody knows is nobody's user, and not counted."""
    actions: Json = {
        "ip": {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}},
        "user": {
            "metadata": {
                "descriptor_key": "user",
                "metadata_key": {"key": JWT, "path": [{"key": "token"}, {"key": "sub"}]},
                "skip_if_absent": True,
            }
        },
        "all": {"generic_key": {"descriptor_value": "all"}},
    }
    action: Json = actions[limit.scope]
    return action


# -- Whom it asks


def _upstream(name: str, address: str, table: Table, around: Surroundings) -> Json:
    options = around.options
    return _cluster(name, address) | {
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": _breaker(table.breaker),
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": options.most_in_flight + options.most_streams,
                    "max_pending_requests": options.most_in_flight,
                    "max_requests": options.most_in_flight + options.most_streams,
                    "retry_budget": {
                        "budget_percent": {"value": table.retries.budget * 100},
                        "min_retry_concurrency": 1,
                    },
                }
            ]
        },
    }


def _breaker(breaker: Breaker) -> Json:
    """By the share of failures alone: neither some in a row nor being worse than others counts."""
    return {
        "interval": _seconds(breaker.window_s),
        "base_ejection_time": _seconds(breaker.open_for_s),
        "max_ejection_time": _seconds(breaker.open_for_s),
        "max_ejection_percent": 100,
        "enforcing_failure_percentage": 100,
        "failure_percentage_threshold": round(breaker.open_at * 100),
        "failure_percentage_request_volume": breaker.least_calls,
        "failure_percentage_minimum_hosts": 1,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
    }


def _cluster(name: str, url: str) -> Json:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    endpoint = {"endpoint": {"address": _socket(host, port)}}
    http = {
        "common_http_protocol_options": {"idle_timeout": _seconds(IDLE_S)},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    cluster = {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions", http
            )
        },
    }
    return cluster | ({"transport_socket": _tls(host)} if secure else {})


def _tls(host: str) -> Json:
    return _named(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        {
            "sni": host,
            "auto_sni_san_validation": True,
            "common_tls_context": {"validation_context": {"trusted_ca": {"filename": WELL_KNOWN}}},
        },
    )


# -- What it answers by itself


def _answers_of_its_own(breaker: Breaker) -> Json:
    """The same as our own door's, so that a client needs to know one."""
    ambiguous = {"name": ":path", "string_match": {"safe_regex": {"regex": f"{AMBIGUOUS}(\\?.*)?"}}}
    no_upgrade = {"name": "upgrade", "present_match": False}
    mappers = [
        _answer(AmbiguousPathError(), 400, {"header_filter": {"header": ambiguous}}),
        _answer(UnreadableError(), 400),
        _answer(UnauthenticatedError(), 401),
        # For another audience Envoy would say that it is forbidden.
        _answer(UnauthenticatedError(), 403, {"header_filter": {"header": no_upgrade}}),
        _answer(NotFoundError(), 404),
        _answer(LateError(), 408, _flags("SI")),
        _answer(TooLargeError(), 413),
        _answer(TooManyRequestsError(), 429),
        _answer(HeadTooLargeError(), 431),
        _answer(OverloadedError(), 503, _flags("UO")),
        _answer(BreakerOpenError(retry_after_s=breaker.open_for_s), 503, _flags("UH")),
        _answer(UpstreamAwayError(), 503, _flags("UF", "UC", "UR", "LR")),
        _answer(UpstreamAwayError(), 502),
        _answer(LateError(), 504),
    ]
    anything = {
        "type": f"/problems/{ProblemError.name}",
        "title": "%RESPONSE_CODE_DETAILS%",
        "status": "%RESPONSE_CODE%",
        "detail": ProblemError.sentence,
    }
    return {"mappers": mappers, "body_format": _body(anything)}


def _answer(error: ProblemError, status: int, *reasons: Json) -> Json:
    """What an error of ours says, for what Envoy answers with this status and for this reason."""
    comparison = {"op": "EQ", "value": {"default_value": status, "runtime_key": "none"}}
    wanted = [{"status_code_filter": {"comparison": comparison}}, *reasons]
    return {
        "filter": {"and_filter": {"filters": wanted}} if reasons else wanted[0],
        "status_code": int(error.status),
        "body_format_override": _body(error.problem),
        "headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "ADD_IF_ABSENT"}
            for key, value in error.headers.items()
        ],
    }


def _flags(*flags: str) -> Json:
    return {"response_flag_filter": {"flags": list(flags)}}


def _body(problem: Json) -> Json:
    return {"json_format": problem, "content_type": "application/problem+json"}


# -- How Envoy writes things


def _socket(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def _set(header: str, value: str) -> Json:
    return {
        "header": {"key": header, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _named(name: str, kind: str, config: Json) -> Json:
    return {"name": name, "typed_config": _typed(kind, config)}


def _typed(kind: str, config: Json) -> Json:
    return {"@type": TYPES + kind, **config}
