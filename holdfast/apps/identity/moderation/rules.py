"""Nobody acts on somebody who may do more: otherwise the lesser could shut the greater out."""

from collections.abc import Iterable

from holdfast.core.errors import ForbiddenError


def refuse_above(own: Iterable[str], theirs: Iterable[str]) -> None:
    lacking = sorted(set(theirs) - set(own))
    if lacking:
        raise AboveOwnPermissionsError(
            f"This account may do what you may not: {', '.join(lacking)}."
        )


class AboveOwnPermissionsError(ForbiddenError):
    sentence = "This account may do what you may not."
