"""What a reader sees of a contract: operations in groups, their fields, answers and a curl line.

The contract is the single source; nothing is looked up in code. Only the part of OpenAPI that our
contracts use is understood: local references, one kind of body for each operation (JSON or a form),
bearer tokens, passwords and keys in a header.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from holdfast.gateway.reference.schemas import Answer, Field, Group, Operation

Node = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
FIRST_ERROR = 400
LONGEST_LINE = 50
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Contract:
    told: Mapping[str, Any]

    @cached_property
    def groups(self) -> list[Group]:
        operations = list(self._operations())
        return [
            Group(
                tag["name"],
                tag.get("description", ""),
                [o for n, o in operations if n == tag["name"]],
            )
            for tag in self.told["tags"]
        ]

    @property
    def operations(self) -> list[Operation]:
        return [operation for group in self.groups for operation in group.operations]

    @cached_property
    def problems(self) -> list[Answer]:
        """Every kind of refusal, described once for all operations."""
        statuses = {
            answer["$ref"]: int(status)
            for item in self.told["paths"].values()
            for method in METHODS
            for status, answer in item.get(method, {}).get("responses", {}).items()
            if "$ref" in answer
        }
        refusals = [
            self._answer(status, self._resolve({"$ref": name})) for name, status in statuses.items()
        ]
        return sorted(refusals, key=lambda answer: (answer.status, answer.description))

    @cached_property
    def problem_fields(self) -> list[Field]:
        return list(self._fields(self.told["components"]["schemas"]["Problem"]))

    def _operations(self) -> Iterator[tuple[str, Operation]]:
        for path, item in self.told["paths"].items():
            for method in METHODS:
                if method in item:
                    node = item[method]
                    shared = item.get("parameters", [])
                    yield node["tags"][0], self._operation(method, path, node, shared)

    def _operation(self, method: str, path: str, node: Node, shared: list[Node]) -> Operation:
        kind, body = self._body(node.get("requestBody", {}))
        parameters = [self._resolve(one) for one in shared + node.get("parameters", [])]
        credentials = self._credentials(node)
        answers = [
            self._answer(int(status), self._resolve(answer))
            for status, answer in node["responses"].items()
        ]
        return Operation(
            name=node["operationId"],
            method=method.upper(),
            path=path,
            summary=node["summary"],
            description=node.get("description", ""),
            permission=node.get("x-permission"),
            secured=credentials is not None,
            parameters=[self._parameter(one) for one in parameters],
            body=list(self._fields(body)) if body else [],
            successes=[answer for answer in answers if answer.status < FIRST_ERROR],
            refusals=[answer for answer in answers if answer.status >= FIRST_ERROR],
            curl=curl(
                method.upper(),
                path,
                parameters,
                [*([credentials] if credentials else []), *self._body_words(kind, body)],
            ),
        )

    def _parameter(self, node: Node) -> Field:
        schema = self._resolve(node["schema"])
        return Field(
            name=node["name"],
            place=node["in"],
            kind=kind_of(schema),
            required=node.get("required", False),
            description=node.get("description", ""),
            rules=rules_of(schema),
        )

    def _answer(self, status: int, node: Node) -> Answer:
        _, schema = self._body(node)
        media: Node = next(iter(node.get("content", {}).values()), {})
        example = media.get("example") or (self.example(schema) if schema else None)
        return Answer(
            status=status,
            description=node["description"],
            headers=[
                (name, self._resolve(one)["description"])
                for name, one in node.get("headers", {}).items()
            ],
            fields=list(self._fields(schema)) if schema else [],
            example=None if example is None else pretty(example),
        )

    def _fields(self, schema: Node, prefix: str = "") -> Iterator[Field]:
        """Nested fields follow their parent, named by their whole path."""
        schema = self._resolve(schema)
        for name, node in schema.get("properties", {}).items():
            field = self._resolve(node)
            kind = self._kind(field)
            yield Field(
                name=prefix + name,
                kind=kind,
                required=name in schema.get("required", ()),
                description=field.get("description", ""),
                rules=rules_of(field),
            )
            nested = self._resolve(field.get("items", field))
            step = "[]." if "items" in field else "."
            yield from self._fields(nested, f"{prefix}{name}{step}")

    def _kind(self, schema: Node) -> str:
        if "items" in schema:
            return f"list of {kind_of(self._resolve(schema['items']))}"
        return kind_of(schema)

    def example(self, schema: Node) -> Any:
        schema = self._resolve(schema)
        if "examples" in schema:
            return schema["examples"][0]
        if "const" in schema:
            return schema["const"]
        if "properties" in schema:
            return {
                name: self.example(one)
                for name, one in schema["properties"].items()
                if _shown(schema, name)
            }
        if "items" in schema:
            return [self.example(schema["items"])]
        return schema.get("default", schema.get("enum", ["…"])[0])

    def _credentials(self, node: Node) -> str | None:
        """How curl proves who asks; nothing where anybody may."""
        wanted = next(iter(node.get("security", self.told.get("security", []))), None)
        if not wanted:
            return None
        scheme = self.told["components"]["securitySchemes"][next(iter(wanted))]
        match scheme:
            case {"scheme": "bearer"}:
                return '-H "Authorization: Bearer $TOKEN"'
            case {"scheme": "basic"}:
                return '-u "$CLIENT_ID:$CLIENT_SECRET"'
        return f'-H "{scheme["name"]}: $KEY"'

    def _body_words(self, kind: str, schema: Node | None) -> list[str]:
        """What curl is told to send."""
        if schema is None:
            return []
        example = self.example(schema)
        if kind == FORM:
            return [
                f"--data-urlencode {shlex.quote(f'{name}={value}')}"
                for name, value in example.items()
            ]
        return [f"-H 'Content-Type: {kind}'", f"-d {shlex.quote(compact(example))}"]

    def _body(self, node: Node) -> tuple[str, Node | None]:
        for kind, media in node.get("content", {}).items():
            return kind, media["schema"]
        return "", None

    def _resolve(self, node: Node) -> Node:
        """Follow references; what stands beside a reference wins over what it points to."""
        if "$ref" not in node:
            return node
        target: Any = self.told
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return {**self._resolve(target), **{k: v for k, v in node.items() if k != "$ref"}}


def kind_of(schema: Node) -> str:
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(schema.get("format", kind))


def rules_of(schema: Node) -> list[str]:
    """The limits of a value as short phrases, in the contract's own language."""
    rules = []
    for low, high, unit in (
        ("minLength", "maxLength", " characters"),
        ("minimum", "maximum", ""),
        ("minItems", "maxItems", " entries"),
    ):
        if phrase := _between(schema.get(low), schema.get(high)):
            rules.append(phrase + unit)
    if "enum" in schema:
        rules.append("one of " + ", ".join(map(str, schema["enum"])))
    if "const" in schema:
        rules.append(f"always {schema['const']}")
    if "default" in schema:
        rules.append(f"default {json.dumps(schema['default'])}")
    if "pattern" in schema and "x00" not in schema["pattern"]:
        rules.append(schema["pattern"])
    return rules


def _between(low: int | None, high: int | None) -> str:
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    if high is not None:
        return f"at most {high:,}"
    return f"at least {low:,}" if low else ""


def curl(method: str, path: str, parameters: list[Node], words: list[str]) -> str:
    """A line to paste; `$URL` and `$TOKEN` are set once, at the head of the page."""
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
    verb = "" if method == "GET" else f" -X {method}"
    return " \\\n  ".join([f"curl -s{verb} $URL{path}", *words])


def compact(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= LONGEST_LINE else pretty(value).replace("\n", "\n  ")


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _shown(schema: Node, name: str) -> bool:
    """Optional fields without an example would only be noise in one."""
    node = schema["properties"][name]
    return name in schema.get("required", ()) or "$ref" in node or "examples" in node
