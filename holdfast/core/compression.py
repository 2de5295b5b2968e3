"""Compressing answers: what is worth it, and who takes it. Gzip alone: everybody has it."""

import re
from functools import lru_cache

WORTH_COMPRESSING = 1_000  # bytes; what is shorter fits one packet either way
REFUSED = re.compile(rb"\s*q=0(\.0{0,3})?\s*")


@lru_cache(256)
def takes_gzip(accept_encoding: bytes) -> bool:
    for wanted in accept_encoding.lower().split(b","):
        coding, _, weight = wanted.partition(b";")
        if coding.strip() == b"gzip":
            return not REFUSED.fullmatch(weight)
    return False
