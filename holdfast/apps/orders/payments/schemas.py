"""What is told of a payment, and what may be wrong with it."""

from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field

from holdfast.core.errors import BusyError, ConflictError, NotFoundError, ProblemError
from holdfast.core.wire import Input

Told = Literal["approved", "declined", "refunded"]  # by the provider


class PayIn(Input):
    method: Annotated[str, Field(pattern="^[!-~]{1,200}$")]  # the provider's token; never kept


class UnknownOrderError(NotFoundError):
    sentence = "You have no such order."


class NotPaidYetError(NotFoundError):
    sentence = "Nobody has tried to pay this order."


class DeclinedError(ProblemError):
    status = HTTPStatus.PAYMENT_REQUIRED
    sentence = "The payment was declined. The order is still yours to pay: try another way."


class OrderEndedError(ConflictError):
    sentence = "This order cannot be paid any more. Place a new one."


class PaidTooLateError(ConflictError):
    sentence = "The order ended before it was paid. Your money goes back to you."


class NotPaidError(ConflictError):
    sentence = "Only an order that is paid can be refunded. Cancel one that is reserved."


class PaymentUndoneError(BusyError):
    sentence = "An earlier attempt to pay is being undone. Pay again shortly."


class ProviderAwayError(BusyError):
    sentence = (
        "The payment provider cannot be reached. Pay again shortly: however often you ask, you are"
        " charged once."
    )


class NoAnswerError(Exception):
    """The provider was asked, and may have done it; only asking again can tell."""
