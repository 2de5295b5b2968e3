"""Structured logs through the standard library: JSON lines, or one readable line in development.

Every line tells its request and trace without anybody passing them along; both are found only
when something is logged, so that a request that logs nothing pays nothing. Whatever looks like a
secret (by its field's name, or a bearer token, JWT or password inside a text) is blotted out, as a
last defence: do not log secrets. There is no access log; requests are counted, not written down.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from starlette.types import Scope

from holdfast.core.settings import Profile

request: ContextVar[Scope | None] = ContextVar("request", default=None)

HIDDEN = "[hidden]"
SECRET_NAME = re.compile(
    r"password|passwd|secret|token|authorization|cookie|api_?key", re.IGNORECASE
)
SECRET_TEXT = re.compile(
    r"""(?P<before>
        bearer\s+                               # Authorization: Bearer ...
        | ://[^/\s:@]*:(?=[^/\s@]+@)            # postgres://user:...@host
        | [\w-]*(?:password|secret|token|api_?key)[\w-]*
          (?:=|["']\s*:\s*)["']?                # token=..., "token": "..."
    )[^\s"',;&)@]+
    | eyJ[\w-]+\.[\w-]+\.[\w-]*               # a JWT on its own
    """,
    re.IGNORECASE | re.VERBOSE,
)
SAFE_ID = re.compile(rb"[\w.-]{1,64}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
ORDINARY = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


def configure(profile: Profile, stream: TextIO | None = None) -> None:
    """Everything that is logged in this process goes to one stream, standard error by default."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine() if profile == "development" else JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True


def request_id() -> str | None:
    """Of the request being handled: its own `X-Request-ID` if that is decent, otherwise a new one."""
    scope = request.get()
    if scope is None:
        return None
    if "holdfast.request_id" not in scope:
        given = _header(scope, b"x-request-id")
        decent = SAFE_ID.fullmatch(given)
        scope["holdfast.request_id"] = given.decode() if decent else secrets.token_hex(8)
    found: str = scope["holdfast.request_id"]
    return found


def trace_id() -> str | None:
    """Of the request being handled, when its caller sent a W3C trace context or it is traced here."""
    scope = request.get()
    if scope is None:
        return None
    if "holdfast.trace_id" not in scope:
        sent = TRACEPARENT.fullmatch(_header(scope, b"traceparent"))
        scope["holdfast.trace_id"] = sent[1].decode() if sent else None
    found: str | None = scope["holdfast.trace_id"]
    return found


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _safe("", record.getMessage()),
            **_context(record),
        }
        if record.exc_info:
            fields["error"] = _safe("", self.formatException(record.exc_info))
        return msgspec.json.encode(fields, enc_hook=repr).decode()


class OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = _time(record).astimezone().strftime("%H:%M:%S")
        more = "".join(f"  {name}={value}" for name, value in _context(record).items())
        message = _safe("", record.getMessage())
        line = f"{time} {record.levelname:<7} {record.name}: {message}{more}"
        if record.exc_info:
            line += "\n" + _safe("", self.formatException(record.exc_info))
        return line


def _context(record: logging.LogRecord) -> dict[str, Any]:
    """Request, trace, and what the caller gave as `extra`."""
    ids = {"request_id": request_id(), "trace_id": trace_id()}
    extra = {
        name: _safe(name, value) for name, value in vars(record).items() if name not in ORDINARY
    }
    return {name: value for name, value in ids.items() if value} | extra


def _safe(name: str, value: Any) -> Any:
    if SECRET_NAME.search(name):
        return HIDDEN
    match value:
        case str():
            return SECRET_TEXT.sub(lambda found: (found["before"] or "") + HIDDEN, value)
        case Mapping():
            return {str(key): _safe(str(key), inner) for key, inner in value.items()}
        case list() | tuple():
            return [_safe("", inner) for inner in value]
    return value


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")
