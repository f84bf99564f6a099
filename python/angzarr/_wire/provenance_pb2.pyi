from angzarr._wire import types_pb2 as _types_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProvenanceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMMAND: _ClassVar[ProvenanceKind]
    REJECTION: _ClassVar[ProvenanceKind]
    COMPENSATE: _ClassVar[ProvenanceKind]
    FACT: _ClassVar[ProvenanceKind]
COMMAND: ProvenanceKind
REJECTION: ProvenanceKind
COMPENSATE: ProvenanceKind
FACT: ProvenanceKind

class Provenance(_message.Message):
    __slots__ = ("source", "source_seq", "component", "index", "occasion", "kind")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OCCASION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    source: _types_pb2.Cover
    source_seq: int
    component: str
    index: int
    occasion: bytes
    kind: ProvenanceKind
    def __init__(self, source: _Optional[_Union[_types_pb2.Cover, _Mapping]] = ..., source_seq: _Optional[int] = ..., component: _Optional[str] = ..., index: _Optional[int] = ..., occasion: _Optional[bytes] = ..., kind: _Optional[_Union[ProvenanceKind, str]] = ...) -> None: ...
