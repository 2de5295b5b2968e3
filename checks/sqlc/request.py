"""What sqlc tells its plugin: the part of its request that we read, in its own words."""

from msgspec import Struct


class Identifier(Struct):
    schema: str
    name: str


class Column(Struct):
    name: str
    not_null: bool
    is_array: bool
    type: Identifier
    table: Identifier | None
    is_named_param: bool


class Parameter(Struct):
    number: int
    column: Column


class Query(Struct):
    name: str
    cmd: str
    text: str
    comments: list[str]
    columns: list[Column]
    params: list[Parameter]


class Schema(Struct):
    name: str
    enums: list[Identifier | Struct] = []


class Catalog(Struct):
    schemas: list[Schema]


class Request(Struct):
    catalog: Catalog
    queries: list[Query]
