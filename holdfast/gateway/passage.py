"""What the front door decided about one request, for an upstream that is not in this process.

It is at `scope["holdfast.passage"]` of every request that such a one gets. What is in this process
has nothing to pass on, and the door itself ends what comes too late there.
"""

from http import HTTPStatus
from typing import ClassVar, NamedTuple

from holdfast.core.errors import ProblemError
from holdfast.gateway.table import Route

KEY = "holdfast.passage"


class Passage(NamedTuple):
    route: Route
    request_id: str
    client: str  # the address of who asked, as trusted proxies tell it
    deadline: float  # of time.monotonic(): the answer must have begun by then


class LateError(ProblemError):
    status: ClassVar[HTTPStatus] = HTTPStatus.GATEWAY_TIMEOUT
    sentence = "No answer came in time. It may have been done nevertheless: look before you repeat."
