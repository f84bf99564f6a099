from angzarr._wire import command_handler_pb2 as _command_handler_pb2
from angzarr._wire import provenance_pb2 as _provenance_pb2
from angzarr._wire import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReactRequest(_message.Message):
    __slots__ = ("book", "sync_mode", "cascade_error_mode", "cascade_id", "component")
    BOOK_FIELD_NUMBER: _ClassVar[int]
    SYNC_MODE_FIELD_NUMBER: _ClassVar[int]
    CASCADE_ERROR_MODE_FIELD_NUMBER: _ClassVar[int]
    CASCADE_ID_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    book: _types_pb2.EventBook
    sync_mode: _types_pb2.SyncMode
    cascade_error_mode: _types_pb2.CascadeErrorMode
    cascade_id: str
    component: str
    def __init__(self, book: _Optional[_Union[_types_pb2.EventBook, _Mapping]] = ..., sync_mode: _Optional[_Union[_types_pb2.SyncMode, str]] = ..., cascade_error_mode: _Optional[_Union[_types_pb2.CascadeErrorMode, str]] = ..., cascade_id: _Optional[str] = ..., component: _Optional[str] = ...) -> None: ...

class ReactResponse(_message.Message):
    __slots__ = ("executed", "refused", "failure")
    EXECUTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    executed: _containers.RepeatedCompositeFieldContainer[ExecutedOutput]
    refused: _containers.RepeatedCompositeFieldContainer[RefusedOutput]
    failure: ReactionError
    def __init__(self, executed: _Optional[_Iterable[_Union[ExecutedOutput, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[RefusedOutput, _Mapping]]] = ..., failure: _Optional[_Union[ReactionError, _Mapping]] = ...) -> None: ...

class ExecutedOutput(_message.Message):
    __slots__ = ("index", "book", "cascade_errors", "provenance")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    BOOK_FIELD_NUMBER: _ClassVar[int]
    CASCADE_ERRORS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    index: int
    book: _types_pb2.EventBook
    cascade_errors: _containers.RepeatedCompositeFieldContainer[_command_handler_pb2.CascadeError]
    provenance: _provenance_pb2.Provenance
    def __init__(self, index: _Optional[int] = ..., book: _Optional[_Union[_types_pb2.EventBook, _Mapping]] = ..., cascade_errors: _Optional[_Iterable[_Union[_command_handler_pb2.CascadeError, _Mapping]]] = ..., provenance: _Optional[_Union[_provenance_pb2.Provenance, _Mapping]] = ...) -> None: ...

class RefusedOutput(_message.Message):
    __slots__ = ("index", "command", "error", "is_parked")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IS_PARKED_FIELD_NUMBER: _ClassVar[int]
    index: int
    command: _types_pb2.CommandBook
    error: ReactionError
    is_parked: bool
    def __init__(self, index: _Optional[int] = ..., command: _Optional[_Union[_types_pb2.CommandBook, _Mapping]] = ..., error: _Optional[_Union[ReactionError, _Mapping]] = ..., is_parked: _Optional[bool] = ...) -> None: ...

class ReactionError(_message.Message):
    __slots__ = ("code", "kind", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: str
    kind: str
    message: str
    details: bytes
    def __init__(self, code: _Optional[str] = ..., kind: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[bytes] = ...) -> None: ...

class AttendRequest(_message.Message):
    __slots__ = ("component", "cover", "written")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    COVER_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    component: str
    cover: _types_pb2.Cover
    written: _types_pb2.SequenceRange
    def __init__(self, component: _Optional[str] = ..., cover: _Optional[_Union[_types_pb2.Cover, _Mapping]] = ..., written: _Optional[_Union[_types_pb2.SequenceRange, _Mapping]] = ...) -> None: ...

class AttendResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ProjectRequest(_message.Message):
    __slots__ = ("component", "cover", "book")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    COVER_FIELD_NUMBER: _ClassVar[int]
    BOOK_FIELD_NUMBER: _ClassVar[int]
    component: str
    cover: _types_pb2.Cover
    book: _types_pb2.EventBook
    def __init__(self, component: _Optional[str] = ..., cover: _Optional[_Union[_types_pb2.Cover, _Mapping]] = ..., book: _Optional[_Union[_types_pb2.EventBook, _Mapping]] = ...) -> None: ...

class ProjectResponse(_message.Message):
    __slots__ = ("projection",)
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    projection: _types_pb2.Projection
    def __init__(self, projection: _Optional[_Union[_types_pb2.Projection, _Mapping]] = ...) -> None: ...
