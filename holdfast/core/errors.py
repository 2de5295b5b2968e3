"""Errors that are answers: each has an HTTP status and a sentence for its reader.

Code anywhere in an app raises one of these (or its own `<Fact>Error`), and `web` renders it as
RFC 9457 problem+json. Anything else that escapes is a fault of ours: it is logged with its trace
and answered as a bare 500. Nothing here knows HTTP frameworks.
"""

from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar


class ProblemError(Exception):
    """A failure that its reader can understand and act upon."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    sentence: ClassVar[str] = "Something went wrong on our side."
    name: ClassVar[str] = "problem"

    def __init_subclass__(cls) -> None:
        cls.name = problem_name(cls)

    def __init__(
        self, detail: str | None = None, *, headers: dict[str, str] | None = None, **extra: Any
    ) -> None:
        self.detail = detail or self.sentence
        self.headers = headers or {}
        self.extra = extra
        super().__init__(self.detail)

    @property
    def problem(self) -> dict[str, Any]:
        return {
            "type": f"/problems/{self.name}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            **self.extra,
        }


def problem_name(error: type[ProblemError]) -> str:
    """`SoldOutError` is known to clients as `sold-out`."""
    words = error.__name__.removesuffix("Error")
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in words).lstrip("-")


class MalformedError(ProblemError):
    status = HTTPStatus.BAD_REQUEST
    sentence = "The request cannot be read. Send valid JSON in UTF-8."


class UnauthenticatedError(ProblemError):
    """One body for every reason: a stranger learns nothing from the difference."""

    status = HTTPStatus.UNAUTHORIZED
    sentence = "This needs a valid access token. Sign in, or refresh the one you have."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class ForbiddenError(ProblemError):
    status = HTTPStatus.FORBIDDEN
    sentence = "You are signed in, but not allowed to do this."


class NotFoundError(ProblemError):
    status = HTTPStatus.NOT_FOUND
    sentence = "There is nothing here by that name."


class ConflictError(ProblemError):
    status = HTTPStatus.CONFLICT
    sentence = "This does not fit the present state. Read it again, then decide."


class TooLargeError(ProblemError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    sentence = "The request is larger than this address accepts."


class InvalidError(ProblemError):
    """Well-formed, but some fields are not acceptable; `errors` names them."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    sentence = "Some fields are not acceptable; see `errors`."

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__(errors=[{"field": field, "message": text} for field, text in errors])


class BusyError(ProblemError):
    """Refused early, so that those already admitted are served well."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    sentence = "Too much is waiting at this moment. Try again shortly."

    def __init__(self, detail: str | None = None, *, retry_after_s: float = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, ceil(retry_after_s)))})
