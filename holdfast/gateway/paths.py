"""A path that everybody reads in the same way, or none.

Two readers of `/public/..%2fsecret` may end at different places, and then the one who let it in is
not the one who opens. So whatever some server would rewrite is refused, and what is left means the
same here, on the way and where it arrives.
"""

import re
from http import HTTPStatus
from typing import ClassVar
from urllib.parse import unquote

from holdfast.core.errors import ProblemError

REWRITTEN = re.compile(
    rb"""
      //                               # empty segments: merged by some
    | /\.{1,2}(?:/|$)                  # dot segments: resolved
    | [;\\]                            # parameters of a segment: cut off; backslashes: turned round
    | [^!-~]                           # what must have been encoded
    | %(?:2[ef]|5c|3b|25|[01].|7f)     # the same, or a percent sign, encoded: decoded twice
    | %(?![0-9a-f]{2})                 # no encoding
    """,
    re.VERBOSE | re.IGNORECASE,
)
NOT_UTF8 = "\ufffd"


class AmbiguousPathError(ProblemError):
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    sentence = (
        "Write the path plainly: no empty or dot segments, no `;`, nothing encoded needlessly."
    )


def plain(raw_path: bytes) -> str:
    """The path as everybody decodes it."""
    if REWRITTEN.search(raw_path):
        raise AmbiguousPathError
    path = unquote(raw_path.decode("ascii"))
    if NOT_UTF8 in path:
        raise AmbiguousPathError
    return path
