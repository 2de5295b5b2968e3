"""The payment provider, as orders ask it; its side is `contracts/external/payment-provider.yaml`.

Each payment has a reference of ours, and every call may be repeated. So an answer that is lost costs
another question and never money. What a charge answers is told, never decided, here.
"""

import logging
from http import HTTPStatus
from uuid import UUID

import aiohttp
import msgspec

from holdfast.apps.orders.payments.schemas import NoAnswerError, ProviderAwayError, Told
from holdfast.core.jwks import bounded_body

CONNECTS_WITHIN_S = 2
ANSWERS_WITHIN_S = 5.0
log = logging.getLogger(__name__)


class Payment(msgspec.Struct, frozen=True):
    reference: UUID
    status: Told


class PaymentProvider:
    def __init__(
        self, url: str, key: str, http: aiohttp.ClientSession, within_s: float = ANSWERS_WITHIN_S
    ) -> None:
        self._url = url
        self._http = http
        self._headers = {"Authorization": f"Bearer {key}"}
        self._timeout = aiohttp.ClientTimeout(total=within_s, sock_connect=CONNECTS_WITHIN_S)

    async def charge(self, reference: UUID, amount_krw: int, method: str) -> Told:
        wanted = {"amount_krw": amount_krw, "method": method}
        return await self._ask("PUT", f"/payments/{reference}", wanted)

    async def look_up(self, reference: UUID) -> Told | None:
        """None: nobody has asked for money by this reference so far."""
        try:
            return await self._ask("GET", f"/payments/{reference}")
        except UnheardOfError:
            return None

    async def refund(self, reference: UUID) -> Told:
        """Give the money back; or, if none was taken, see to it that none ever is."""
        told = await self._ask("PUT", f"/payments/{reference}/refund")
        if told == "approved":
            raise NoAnswerError(f"Of {reference} it said approved when asked to refund it.")
        return told

    async def _ask(self, method: str, path: str, body: object = None) -> Told:
        try:
            async with self._http.request(
                method,
                self._url + path,
                json=body,
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                if answer.status == HTTPStatus.NOT_FOUND and method == "GET":
                    raise UnheardOfError
                if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    log.error("The payment provider refused %s with %d", method, answer.status)
                    raise ProviderAwayError
                if answer.status != HTTPStatus.OK:
                    raise NoAnswerError(f"It answered {answer.status}.")
                told = msgspec.json.decode(await bounded_body(answer), type=Payment)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ProviderAwayError from error
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            raise NoAnswerError from error
        return told.status


class UnheardOfError(Exception):
    """The provider does not know the reference."""
