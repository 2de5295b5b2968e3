"""The parts of a contract as its page shows them."""

from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True)
class Field:
    name: str
    kind: str
    required: bool
    description: str
    rules: list[str]
    place: str = "body"


@dataclass(frozen=True)
class Answer:
    status: int
    description: str
    headers: list[tuple[str, str]]
    fields: list[Field]
    example: str | None

    @property
    def phrase(self) -> str:
        return HTTPStatus(self.status).phrase


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    summary: str
    description: str
    permission: str | None
    secured: bool
    parameters: list[Field]
    body: list[Field]
    successes: list[Answer]
    refusals: list[Answer]
    curl: str


@dataclass(frozen=True)
class Group:
    name: str
    description: str
    operations: list[Operation] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return self.name.lower().replace(" ", "-")
