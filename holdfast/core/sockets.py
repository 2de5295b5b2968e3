"""Web sockets as uvicorn speaks them, without writing their addresses down.

Uvicorn logs each with its query, where a client may have had to put a secret, for a browser cannot
send a header with a web socket. A message has an end in bytes, a dead peer is found by pings, and
nothing is compressed: that would take memory for every connection and time for every message.
"""

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LARGEST_MESSAGE = 64 * 1024  # of a client
silent = logging.getLogger(__name__)
silent.setLevel(logging.WARNING)


class WebSockets(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = silent

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = self.close_sent  # uvicorn would log a refusal as a fault
