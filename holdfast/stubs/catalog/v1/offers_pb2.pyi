"""Generated from contracts/proto/holdfast/catalog/v1/offers.proto by `make proto`; edit that file instead."""

# mypy: disable-error-code="type-arg"
import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_DEAL: _ClassVar[Kind]
    KIND_PRODUCT: _ClassVar[Kind]

KIND_UNSPECIFIED: Kind
KIND_DEAL: Kind
KIND_PRODUCT: Kind

class ListOffersRequest(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListOffersResponse(_message.Message):
    __slots__ = ("offers",)
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[Offer]
    def __init__(self, offers: _Optional[_Iterable[_Union[Offer, _Mapping]]] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = (
        "id",
        "kind",
        "product_id",
        "name",
        "price_krw",
        "quantity",
        "opens_at",
        "closes_at",
        "per_customer",
        "admit_per_s",
    )
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRICE_KRW_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    OPENS_AT_FIELD_NUMBER: _ClassVar[int]
    CLOSES_AT_FIELD_NUMBER: _ClassVar[int]
    PER_CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    ADMIT_PER_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: Kind
    product_id: str
    name: str
    price_krw: int
    quantity: int
    opens_at: _timestamp_pb2.Timestamp
    closes_at: _timestamp_pb2.Timestamp
    per_customer: int
    admit_per_s: int
    def __init__(
        self,
        id: _Optional[str] = ...,
        kind: _Optional[_Union[Kind, str]] = ...,
        product_id: _Optional[str] = ...,
        name: _Optional[str] = ...,
        price_krw: _Optional[int] = ...,
        quantity: _Optional[int] = ...,
        opens_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...,
        closes_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...,
        per_customer: _Optional[int] = ...,
        admit_per_s: _Optional[int] = ...,
    ) -> None: ...
