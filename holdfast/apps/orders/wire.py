"""How orders answer: the `data` envelope, encoded at once."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response


def answer(data: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return _json({"data": data}, status)


def page(data: Sequence[Any], next_cursor: str | None) -> Response:
    return _json({"data": data, "next_cursor": next_cursor}, HTTPStatus.OK)


def _json(body: Any, status: HTTPStatus) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")
