"""The catalog as orders ask it: what it says of offers can be changed at any moment of a test.

It keeps to the contracts of `list_offers`, over HTTP or gRPC, until a test stops it, slows it or
makes it lie; the journeys in `tests/` are made with the real one. It has threads of its own, so that
it answers whatever a test's loop does.
"""

import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import grpc
from google.protobuf.json_format import ParseDict

from holdfast.cli.servers import free_port
from holdfast.stubs.catalog.v1.offers_pb2 import ListOffersRequest, ListOffersResponse

Wire = Literal["http", "grpc"]
Said = tuple[int, bytes]  # with a status of the wire: 200 is good over HTTP, 0 over gRPC
STATUSES = {status.value[0]: status for status in grpc.StatusCode}


class Shelf:
    def __init__(self, wire: Wire = "http") -> None:
        self.wire = wire
        self.offers: dict[UUID, dict[str, Any]] = {}
        self.asked = 0
        self.takes_s = 0.0
        self.lie: Said | None = None  # what it says instead
        self._port = free_port()  # kept while it is stopped
        self.start()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        with cls.standing() as shelf:
            yield shelf

    @classmethod
    @contextmanager
    def standing(cls, wire: Wire = "http") -> Iterator[Self]:
        shelf = cls(wire)
        try:
            yield shelf
        finally:
            shelf.stop()

    @property
    def url(self) -> str:
        return f"{self.wire}://127.0.0.1:{self._port}"

    def put(self, quantity: int, *, offer_id: UUID | None = None, **said: Any) -> UUID:
        """A deal that is open; in place of the one that was there by this id."""
        offer_id = offer_id or uuid4()
        self.offers[offer_id] = deal(quantity, id=str(offer_id), **said)
        return offer_id

    def change(self, offer_id: UUID, **said: Any) -> None:
        self.offers[offer_id].update(said)

    def find(self, asked: Iterable[str]) -> list[dict[str, Any]]:
        self.asked += 1
        time.sleep(self.takes_s)
        return [self.offers[UUID(each)] for each in asked if UUID(each) in self.offers]

    def start(self) -> None:
        self._face = (HttpFace if self.wire == "http" else GrpcFace)(self, self._port)

    def stop(self) -> None:
        self._face.stop()


class GrpcFace(grpc.GenericRpcHandler):
    def __init__(self, shelf: Shelf, port: int) -> None:
        self._shelf = shelf
        self._server = grpc.server(ThreadPoolExecutor(8), [self])
        self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def service(self, call: Any) -> Any:
        assert call.method == "/holdfast.catalog.v1.Offers/ListOffers"
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, body: bytes, context: Any) -> bytes:
        there = self._shelf.find(ListOffersRequest.FromString(body).ids)
        status, answer = self._shelf.lie or (0, on_the_wire(*there))
        if status:
            context.abort(STATUSES[status], "It says so.")
        return answer


class HttpFace:
    def __init__(self, shelf: Shelf, port: int) -> None:
        self._server = Server(("127.0.0.1", port), Handler)
        self._server.shelf = shelf
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
        shelf = self.server.shelf
        there = shelf.find(parse_qs(urlsplit(self.path).query).get("id", []))
        status, body = shelf.lie or (200, json.dumps({"data": there}).encode())
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


def on_the_wire(*offers: dict[str, Any]) -> bytes:
    """As a message of the contract."""
    told = [{**offer, "kind": f"KIND_{offer['kind'].upper()}"} for offer in offers]
    return ParseDict({"offers": told}, ListOffersResponse()).SerializeToString()
