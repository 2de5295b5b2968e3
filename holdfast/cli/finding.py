"""One line of the doctor's report."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    verdict: Literal["ok", "warn", "fail"]
    subject: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.verdict:5} {self.subject:18} {self.sentence}"


def ok(subject: str, sentence: str) -> Finding:
    return Finding("ok", subject, sentence)


def warn(subject: str, sentence: str) -> Finding:
    return Finding("warn", subject, sentence)


def fail(subject: str, sentence: str) -> Finding:
    return Finding("fail", subject, sentence)
