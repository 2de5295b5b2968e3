"""What sqlc tells its plugin, in its own words; only the part that is read."""

from msgspec import Struct


class TypeName(Struct):
    name: str


class Column(Struct):
    name: str
    not_null: bool
    array_dims: int
    type: TypeName
    table: TypeName | None
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


class Enum(Struct):
    name: str


class Schema(Struct):
    enums: list[Enum]


class Catalog(Struct):
    schemas: list[Schema]


class Settings(Struct):
    queries: list[str]


class Request(Struct):
    settings: Settings
    catalog: Catalog
    queries: list[Query]

    @property
    def enums(self) -> frozenset[str]:
        return frozenset(enum.name for schema in self.catalog.schemas for enum in schema.enums)
