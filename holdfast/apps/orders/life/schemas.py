"""Why an order cannot be cancelled any more."""

from holdfast.core.errors import ConflictError


class PaidAlreadyError(ConflictError):
    sentence = "This order is paid. Ask for a refund instead."


class EndedAlreadyError(ConflictError):
    sentence = "This order has ended already: it expired or was refunded. There is nothing to do."
