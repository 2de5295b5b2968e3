"""What the forms of the account's page send."""

from holdfast.apps.identity.wire import Email, Input
from holdfast.core.errors import InvalidError


class DeleteForm(Input):
    """Whoever deletes an account writes its address once more, so that it is no accident."""

    confirmation: Email

    def confirm(self, email: str | None) -> None:
        if self.confirmation != email:
            raise InvalidError(("confirmation", "This is not the address of your account."))
