"""Words of OAuth that several features speak: what an id looks like, and how it says no."""

from collections.abc import Mapping
from http import HTTPStatus

from holdfast.core.errors import ProblemError

CLIENT_ID = r"^[A-Za-z0-9_-]{1,64}$"


class OAuthError(ProblemError):
    """An error's name and a sentence (RFC 6749 5.2).

    Told as OAuth tells it by the routes of `client_auth`, and by a redirect to the client.
    """

    def __init__(
        self,
        error: str,
        sentence: str,
        *,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(sentence, headers=dict(headers))
        self.error = error
        self.status = status  # type: ignore[misc]  # it depends on the error


class InvalidClientError(OAuthError):
    def __init__(self) -> None:
        super().__init__(
            "invalid_client",
            "There is no such client, or it has proved itself by the wrong secret, or by none.",
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": 'Basic realm="clients"'},
        )


class InvalidGrantError(OAuthError):
    """One sentence for every reason: a stranger learns nothing from the difference."""

    def __init__(self) -> None:
        super().__init__(
            "invalid_grant",
            "It is over, was used before, or belongs to another request. Sign in again.",
        )
