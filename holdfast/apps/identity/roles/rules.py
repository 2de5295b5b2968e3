"""Nobody gives what they have not: the one rule of handing out permissions."""

from collections.abc import Iterable

from holdfast.core.errors import ForbiddenError


def refuse_beyond(own: Iterable[str], given: Iterable[str]) -> None:
    """Refuse to give permissions that the giver lacks."""
    lacking = sorted(set(given) - set(own))
    if lacking:
        raise BeyondOwnPermissionsError(f"You cannot give what you have not: {', '.join(lacking)}.")


class BeyondOwnPermissionsError(ForbiddenError):
    sentence = "You cannot give permissions that you have not."
