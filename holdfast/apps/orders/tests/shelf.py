"""The catalog as orders ask it: what it says of offers can be changed at any moment of a test.

It keeps to the contract of `list_offers`, until a test stops it, slows it or makes it lie; the
journeys in `tests/` are made with the real one. It has a thread of its own, so that it answers
whatever a test's loop does.
"""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

Said = tuple[int, bytes]


class Shelf:
    def __init__(self) -> None:
        self.offers: dict[UUID, dict[str, Any]] = {}
        self.asked = 0
        self.takes_s = 0.0
        self.lie: Said | None = None  # what it says instead
        self._port = 0
        self.start()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        with cls.standing() as shelf:
            yield shelf

    @classmethod
    @contextmanager
    def standing(cls) -> Iterator[Self]:
        shelf = cls()
        try:
            yield shelf
        finally:
            shelf.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def put(self, quantity: int, *, offer_id: UUID | None = None, **said: Any) -> UUID:
        """A deal that is open; in place of the one that was there by this id."""
        offer_id = offer_id or uuid4()
        self.offers[offer_id] = deal(quantity, id=str(offer_id), **said)
        return offer_id

    def change(self, offer_id: UUID, **said: Any) -> None:
        self.offers[offer_id].update(said)

    def answer(self, path: str) -> Said:
        self.asked += 1
        time.sleep(self.takes_s)
        if self.lie:
            return self.lie
        asked = map(UUID, parse_qs(urlsplit(path).query).get("id", []))
        there = [self.offers[each] for each in asked if each in self.offers]
        return 200, json.dumps({"data": there}).encode()

    def start(self) -> None:
        self._server = Server(("127.0.0.1", self._port), Handler)
        self._server.shelf = self
        self._port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    shelf: Shelf

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked did not wait for the answer."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        status, body = self.server.shelf.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", self.path)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


def deal(quantity: int, **said: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "kind": "deal",
        "product_id": str(uuid4()),
        "name": "Blue mug",
        "price_krw": 1_000,
        "quantity": quantity,
        "opens_at": "2020-01-01T00:00:00Z",
        "closes_at": None,
        "per_customer": None,
        **said,
    }
