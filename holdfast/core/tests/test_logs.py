import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from holdfast.core.settings import Profile
from holdfast.core.telemetry import logs

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(profile: Profile, message: str, *args: object, **more: Any) -> str:
    stream = StringIO()
    logs.configure(profile, stream)
    logging.getLogger("shop.orders").warning(message, *args, **more)
    return stream.getvalue()


def test_a_json_line_tells_time_level_logger_message_and_extra_fields() -> None:
    line = json.loads(written("production", "sold %d", 3, extra={"order": 7, "who": "me"}))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "shop.orders",
        "message": "sold 3",
        "order": 7,
        "who": "me",
    }


def test_every_line_is_one_line_even_with_a_traceback() -> None:
    text = written("production", "two\nlines", exc_info=ValueError("the cause"))
    assert text.count("\n") == 1
    line = json.loads(text)
    assert line["message"] == "two\nlines"
    assert "ValueError: the cause" in line["error"]


def test_what_json_does_not_know_is_written_as_its_repr() -> None:
    assert json.loads(written("staging", "odd", extra={"thing": ValueError(1)}))["thing"] == (
        "ValueError(1)"
    )


def test_request_and_trace_are_told_without_being_passed() -> None:
    headers = [
        (b"x-request-id", b"req-1"),
        (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode()),
    ]
    known = logs.request.set({"type": "http", "headers": headers})
    try:
        line = json.loads(written("production", "hello"))
    finally:
        logs.request.reset(known)
    assert (line["request_id"], line["trace_id"]) == ("req-1", TRACE)
    assert "request_id" not in json.loads(written("production", "hello"))


def test_a_request_keeps_the_id_that_it_was_given() -> None:
    known = logs.request.set({"type": "http", "headers": []})
    try:
        assert logs.request_id() == logs.request_id()
    finally:
        logs.request.reset(known)


def test_in_development_a_line_is_for_reading() -> None:
    text = written("development", "sold %d", 3, extra={"order": 7})
    assert text.endswith(" WARNING shop.orders: sold 3  order=7\n")


@pytest.mark.parametrize("profile", ["development", "production"])
@pytest.mark.parametrize(
    ("message", "extra"),
    [
        ("Authorization: Bearer hunter2hunter2", {}),
        (f"refused {TOKEN}", {}),
        ("cannot reach postgres://app:hunter2@db:5432/app", {}),
        ("GET /reset?token=hunter2&next=/", {}),
        ("body was {'password': 'hunter2', 'email': 'a@b.c'}", {}),
        ("signed in", {"refresh_token": "hunter2"}),
        ("signed in", {"body": {"new_password": "hunter2", "all": [{"api_key": "hunter2"}]}}),
        ("signed in", {"headers": {"cookie": "sid=hunter2"}}),
        ("signed in", {"url": "redis://:hunter2@cache:6379"}),
    ],
)
def test_secrets_are_blotted_out(profile: Profile, message: str, extra: dict[str, Any]) -> None:
    text = written(profile, message, extra=extra)
    assert "hunter2" not in text
    assert TOKEN not in text
    assert "[hidden]" in text


def test_secrets_in_a_traceback_are_blotted_out() -> None:
    text = written("production", "failed", exc_info=ValueError("password=hunter2"))
    assert json.loads(text)["error"] == "ValueError: password=[hidden]"


def test_ordinary_sentences_stay_as_they_are() -> None:
    for sentence in ("The token has expired: refresh it.", "3 passwords at http://a.b:80/c@d"):
        assert json.loads(written("production", sentence))["message"] == sentence
