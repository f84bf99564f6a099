from angzarr._wire import command_handler_pb2 as _command_handler_pb2
from angzarr._wire import history_pb2 as _history_pb2
from angzarr._wire import reaction_pb2 as _reaction_pb2
from angzarr._wire import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SpeculationRequest(_message.Message):
    __slots__ = ("edition", "point", "commands", "reactions", "go_on", "store_as")
    EDITION_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    REACTIONS_FIELD_NUMBER: _ClassVar[int]
    GO_ON_FIELD_NUMBER: _ClassVar[int]
    STORE_AS_FIELD_NUMBER: _ClassVar[int]
    edition: str
    point: _types_pb2.TemporalQuery
    commands: _containers.RepeatedCompositeFieldContainer[_types_pb2.CommandBook]
    reactions: bool
    go_on: bool
    store_as: str
    def __init__(self, edition: _Optional[str] = ..., point: _Optional[_Union[_types_pb2.TemporalQuery, _Mapping]] = ..., commands: _Optional[_Iterable[_Union[_types_pb2.CommandBook, _Mapping]]] = ..., reactions: _Optional[bool] = ..., go_on: _Optional[bool] = ..., store_as: _Optional[str] = ...) -> None: ...

class SpeculationResponse(_message.Message):
    __slots__ = ("outcomes", "states")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[SpeculationOutcome]
    states: _containers.RepeatedCompositeFieldContainer[_history_pb2.StateResponse]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[SpeculationOutcome, _Mapping]]] = ..., states: _Optional[_Iterable[_Union[_history_pb2.StateResponse, _Mapping]]] = ...) -> None: ...

class SpeculationOutcome(_message.Message):
    __slots__ = ("events", "error", "cascade_errors")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CASCADE_ERRORS_FIELD_NUMBER: _ClassVar[int]
    events: _types_pb2.EventBook
    error: _reaction_pb2.ReactionError
    cascade_errors: _containers.RepeatedCompositeFieldContainer[_command_handler_pb2.CascadeError]
    def __init__(self, events: _Optional[_Union[_types_pb2.EventBook, _Mapping]] = ..., error: _Optional[_Union[_reaction_pb2.ReactionError, _Mapping]] = ..., cascade_errors: _Optional[_Iterable[_Union[_command_handler_pb2.CascadeError, _Mapping]]] = ...) -> None: ...
