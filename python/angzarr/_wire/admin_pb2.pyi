import datetime

from angzarr._wire import types_pb2 as _types_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BackupRequest(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: str
    def __init__(self, target: _Optional[str] = ...) -> None: ...

class BackupProgress(_message.Message):
    __slots__ = ("done_bytes", "total_bytes", "is_complete")
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    IS_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    done_bytes: int
    total_bytes: int
    is_complete: bool
    def __init__(self, done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., is_complete: _Optional[bool] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReplayProjectorRequest(_message.Message):
    __slots__ = ("name", "publishes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PUBLISHES_FIELD_NUMBER: _ClassVar[int]
    name: str
    publishes: bool
    def __init__(self, name: _Optional[str] = ..., publishes: _Optional[bool] = ...) -> None: ...

class ReplayProgress(_message.Message):
    __slots__ = ("done", "total", "is_complete")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    IS_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    is_complete: bool
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., is_complete: _Optional[bool] = ...) -> None: ...

class SnapshotsRequest(_message.Message):
    __slots__ = ("domain", "root", "edition")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    EDITION_FIELD_NUMBER: _ClassVar[int]
    domain: str
    root: _types_pb2.UUID
    edition: str
    def __init__(self, domain: _Optional[str] = ..., root: _Optional[_Union[_types_pb2.UUID, _Mapping]] = ..., edition: _Optional[str] = ...) -> None: ...

class SnapshotEntry(_message.Message):
    __slots__ = ("cover", "sequence", "retention", "type", "size_bytes")
    COVER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    cover: _types_pb2.Cover
    sequence: int
    retention: _types_pb2.SnapshotRetention
    type: str
    size_bytes: int
    def __init__(self, cover: _Optional[_Union[_types_pb2.Cover, _Mapping]] = ..., sequence: _Optional[int] = ..., retention: _Optional[_Union[_types_pb2.SnapshotRetention, str]] = ..., type: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class DeleteSnapshotsResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...

class ServerStatus(_message.Message):
    __slots__ = ("version", "process_id", "started_at", "addresses", "store", "components", "consumers", "counters")
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    version: str
    process_id: int
    started_at: _timestamp_pb2.Timestamp
    addresses: _containers.RepeatedScalarFieldContainer[str]
    store: StoreStatus
    components: _containers.RepeatedCompositeFieldContainer[ComponentStatus]
    consumers: _containers.RepeatedCompositeFieldContainer[ConsumerStatus]
    counters: _containers.ScalarMap[str, int]
    def __init__(self, version: _Optional[str] = ..., process_id: _Optional[int] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., addresses: _Optional[_Iterable[str]] = ..., store: _Optional[_Union[StoreStatus, _Mapping]] = ..., components: _Optional[_Iterable[_Union[ComponentStatus, _Mapping]]] = ..., consumers: _Optional[_Iterable[_Union[ConsumerStatus, _Mapping]]] = ..., counters: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StoreStatus(_message.Message):
    __slots__ = ("url", "is_durable", "format_version", "size_bytes", "log_head", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    IS_DURABLE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_HEAD_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    url: str
    is_durable: bool
    format_version: int
    size_bytes: int
    log_head: int
    details: _containers.ScalarMap[str, str]
    def __init__(self, url: _Optional[str] = ..., is_durable: _Optional[bool] = ..., format_version: _Optional[int] = ..., size_bytes: _Optional[int] = ..., log_head: _Optional[int] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ComponentStatus(_message.Message):
    __slots__ = ("name", "endpoint", "is_serving")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    IS_SERVING_FIELD_NUMBER: _ClassVar[int]
    name: str
    endpoint: str
    is_serving: bool
    def __init__(self, name: _Optional[str] = ..., endpoint: _Optional[str] = ..., is_serving: _Optional[bool] = ...) -> None: ...

class ConsumerStatus(_message.Message):
    __slots__ = ("name", "position", "lag", "is_leading", "waiting", "last_error")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    IS_LEADING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    position: int
    lag: int
    is_leading: bool
    waiting: int
    last_error: str
    def __init__(self, name: _Optional[str] = ..., position: _Optional[int] = ..., lag: _Optional[int] = ..., is_leading: _Optional[bool] = ..., waiting: _Optional[int] = ..., last_error: _Optional[str] = ...) -> None: ...
