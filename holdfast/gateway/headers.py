"""Which headers go on through the front door, both ways, and which ones it sets itself.

What is about one connection ends with it (RFC 9110, 7.6.1). What tells a service who asked, by
which way and for how long is the door's word alone: a stranger's own is dropped.
"""

import time
from collections.abc import Collection

from starlette.types import Scope

from holdfast.gateway.passage import Passage

Header = tuple[bytes, bytes]

OF_A_CONNECTION = frozenset(
    {
        *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization"),
        b"proxy-connection",
    }
)
TIME_LEFT = (
    b"x-envoy-expected-rq-timeout-ms"  # Envoy's name: services see one, whoever is before them
)
SAID_BY_US = frozenset(
    {
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"),
        *(b"forwarded", b"x-real-ip", b"x-request-id", TIME_LEFT),
        *(b"host", b"content-length"),  # said anew, so that no `Connection` can name them away
        b"expect",  # the server has answered it
        b"proxy",  # a CGI would take it for its HTTP_PROXY
    }
)
NOT_ASKED_ON = OF_A_CONNECTION | SAID_BY_US
NOT_ANSWERED_ON = OF_A_CONNECTION | {b"date"}  # the server sets one itself, and two are not allowed
USUAL = frozenset({b"keep-alive", b"close"})


def asked_on(scope: Scope, passage: Passage) -> list[Header]:
    """A request's headers for the upstream: all but those that frame its body."""
    headers = scope["headers"]
    host = next((value for name, value in headers if name == b"host"), b"")
    left_ms = max(1, int((passage.deadline - time.monotonic()) * 1000))
    return [
        (b"host", host),
        *_without(headers, NOT_ASKED_ON),
        (b"x-forwarded-for", passage.client.encode()),
        (b"x-forwarded-proto", b"https" if scope["scheme"] in ("https", "wss") else b"http"),
        (b"x-forwarded-host", host),
        (b"x-request-id", passage.request_id.encode()),
        (TIME_LEFT, b"%d" % left_ms),
    ]


def answered_on(headers: Collection[Header]) -> list[Header]:
    """An answer's headers for the client."""
    return _without(headers, NOT_ANSWERED_ON)


def _without(headers: Collection[Header], dropped: frozenset[bytes]) -> list[Header]:
    for name, value in headers:
        if name == b"connection" and value.lower() not in USUAL:
            dropped = dropped | {named.strip() for named in value.lower().split(b",")}
    return [header for header in headers if header[0] not in dropped]
