import datetime

from angzarr._wire import command_handler_pb2 as _command_handler_pb2
from angzarr._wire import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplayMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLAY_UNSPECIFIED: _ClassVar[ReplayMode]
    REPLAY_AS_IS: _ClassVar[ReplayMode]
    REPLAY_FRESH_SEQUENCE: _ClassVar[ReplayMode]
REPLAY_UNSPECIFIED: ReplayMode
REPLAY_AS_IS: ReplayMode
REPLAY_FRESH_SEQUENCE: ReplayMode

class DeadLetterEntry(_message.Message):
    __slots__ = ("id", "letter", "rejection_type", "created_at", "replay_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    LETTER_FIELD_NUMBER: _ClassVar[int]
    REJECTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    REPLAY_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    letter: _types_pb2.AngzarrDeadLetter
    rejection_type: str
    created_at: _timestamp_pb2.Timestamp
    replay_count: int
    def __init__(self, id: _Optional[str] = ..., letter: _Optional[_Union[_types_pb2.AngzarrDeadLetter, _Mapping]] = ..., rejection_type: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replay_count: _Optional[int] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: str
    page_size: int
    page_token: str
    def __init__(self, filter: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[DeadLetterEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[DeadLetterEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDeadLetterRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteDeadLetterRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteDeadLetterResponse(_message.Message):
    __slots__ = ("existed",)
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    existed: bool
    def __init__(self, existed: _Optional[bool] = ...) -> None: ...

class ReplayDeadLetterRequest(_message.Message):
    __slots__ = ("id", "mode", "payloads")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    id: str
    mode: ReplayMode
    payloads: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, id: _Optional[str] = ..., mode: _Optional[_Union[ReplayMode, str]] = ..., payloads: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...

class ReplayDeadLetterResponse(_message.Message):
    __slots__ = ("response", "new_correlation_id")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    NEW_CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    response: _command_handler_pb2.CommandResponse
    new_correlation_id: str
    def __init__(self, response: _Optional[_Union[_command_handler_pb2.CommandResponse, _Mapping]] = ..., new_correlation_id: _Optional[str] = ...) -> None: ...

class RedeliverDeadLetterRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RedeliverDeadLetterResponse(_message.Message):
    __slots__ = ("component",)
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    component: str
    def __init__(self, component: _Optional[str] = ...) -> None: ...
