"""What a password comes down to, and whether that is something that everyone would try.

A password of fifteen characters is seldom in a list as it is. What people do is to repeat a short
word, or to put digits around it: what is left when that is taken away is its core, and the core is
what has to be guessed. It is compared whole: a common word inside a longer password does no harm.
"""

from collections.abc import Iterable
from string import digits, punctuation
from unicodedata import normalize

AROUND = digits + punctuation + " "
SHORTEST_CORE = 4  # what is shorter is no word, but an accident between digits
SHORTEST_REPEATED = 8
SEQUENCES = (
    "abcdefghijklmnopqrstuvwxyz",
    "1234567890",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
)


def core(password: str) -> str:
    """Without letter case, repetition, and what is put around a word."""
    text = _folded(password)
    while True:
        simpler = repeated(text)
        simpler = simpler.strip(AROUND) or simpler
        if simpler == text:
            return text
        text = simpler


def repeated(text: str) -> str:
    """The shortest beginning that gives the whole when it is repeated, cut off anywhere."""
    borders = [0]
    for letter in text[1:]:
        length = borders[-1]
        while length and letter != text[length]:
            length = borders[length - 1]
        borders.append(length + (letter == text[length]))
    period = len(text) - borders[-1]
    return text[:period] if 2 * period <= len(text) else text


def is_plain(password: str) -> bool:
    """Whether it is something short over and over, or runs along the alphabet or the keyboard."""
    text, word = _folded(password), core(password)
    if len(repeated(text)) < SHORTEST_REPEATED:
        return True
    runs = [text, word] if len(word) >= SHORTEST_CORE else [text]
    return any(_runs_along(sequence, run) for sequence in SEQUENCES for run in runs)


def is_expected(password: str, words: Iterable[str]) -> bool:
    """Whether it is one of these words, or comes down to one."""
    expected = {form for word in words for form in (_folded(word), core(word))}
    return not expected.isdisjoint((_folded(password), core(password)))


def words_about(email: str, host: str) -> list[str]:
    """What somebody who knows the address and the service would try first."""
    local, _, domain = email.partition("@")
    return ["holdfast", host, email, local, domain, *domain.split(".")[:-1]]


def _folded(text: str) -> str:
    return normalize("NFKC", text).casefold()


def _runs_along(sequence: str, text: str) -> bool:
    endless = sequence * (len(text) // len(sequence) + 2)
    return text in endless or text[::-1] in endless
