import datetime

from angzarr._wire import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PromotionJudgement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMOTION_UNSPECIFIED: _ClassVar[PromotionJudgement]
    PROMOTION_CLEAN: _ClassVar[PromotionJudgement]
    PROMOTION_DISJOINT: _ClassVar[PromotionJudgement]
    PROMOTION_CONFLICT: _ClassVar[PromotionJudgement]
PROMOTION_UNSPECIFIED: PromotionJudgement
PROMOTION_CLEAN: PromotionJudgement
PROMOTION_DISJOINT: PromotionJudgement
PROMOTION_CONFLICT: PromotionJudgement

class EditionRecord(_message.Message):
    __slots__ = ("name", "parent", "created_at", "expires_at", "max_pages", "max_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    parent: str
    created_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    max_pages: int
    max_bytes: int
    def __init__(self, name: _Optional[str] = ..., parent: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_pages: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class DeclareEditionRequest(_message.Message):
    __slots__ = ("name", "parent", "expires_at", "ttl", "max_pages", "max_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    parent: str
    expires_at: _timestamp_pb2.Timestamp
    ttl: _duration_pb2.Duration
    max_pages: int
    max_bytes: int
    def __init__(self, name: _Optional[str] = ..., parent: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_pages: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class GetEditionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListEditionsRequest(_message.Message):
    __slots__ = ("domain",)
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    domain: str
    def __init__(self, domain: _Optional[str] = ...) -> None: ...

class EditionStatus(_message.Message):
    __slots__ = ("name", "record", "page_count", "byte_count", "domains")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    name: str
    record: EditionRecord
    page_count: int
    byte_count: int
    domains: _containers.RepeatedCompositeFieldContainer[EditionDomain]
    def __init__(self, name: _Optional[str] = ..., record: _Optional[_Union[EditionRecord, _Mapping]] = ..., page_count: _Optional[int] = ..., byte_count: _Optional[int] = ..., domains: _Optional[_Iterable[_Union[EditionDomain, _Mapping]]] = ...) -> None: ...

class EditionDomain(_message.Message):
    __slots__ = ("domain", "stream_count")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    domain: str
    stream_count: int
    def __init__(self, domain: _Optional[str] = ..., stream_count: _Optional[int] = ...) -> None: ...

class ListBranchesRequest(_message.Message):
    __slots__ = ("edition", "domain")
    EDITION_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    edition: str
    domain: str
    def __init__(self, edition: _Optional[str] = ..., domain: _Optional[str] = ...) -> None: ...

class BranchStatus(_message.Message):
    __slots__ = ("domain", "root", "divergence", "next_sequence")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    domain: str
    root: _types_pb2.UUID
    divergence: int
    next_sequence: int
    def __init__(self, domain: _Optional[str] = ..., root: _Optional[_Union[_types_pb2.UUID, _Mapping]] = ..., divergence: _Optional[int] = ..., next_sequence: _Optional[int] = ...) -> None: ...

class DeleteEditionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteEditionResponse(_message.Message):
    __slots__ = ("domains", "was_declared")
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    WAS_DECLARED_FIELD_NUMBER: _ClassVar[int]
    domains: _containers.RepeatedCompositeFieldContainer[DeletedDomain]
    was_declared: bool
    def __init__(self, domains: _Optional[_Iterable[_Union[DeletedDomain, _Mapping]]] = ..., was_declared: _Optional[bool] = ...) -> None: ...

class DeletedDomain(_message.Message):
    __slots__ = ("domain", "page_count")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    PAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    domain: str
    page_count: int
    def __init__(self, domain: _Optional[str] = ..., page_count: _Optional[int] = ...) -> None: ...

class DiffEditionsRequest(_message.Message):
    __slots__ = ("left", "right", "domain", "root")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    left: str
    right: str
    domain: str
    root: _types_pb2.UUID
    def __init__(self, left: _Optional[str] = ..., right: _Optional[str] = ..., domain: _Optional[str] = ..., root: _Optional[_Union[_types_pb2.UUID, _Mapping]] = ...) -> None: ...

class StreamDifference(_message.Message):
    __slots__ = ("cover", "first_sequence", "left", "right", "left_state", "right_state", "fields", "left_next_sequence", "right_next_sequence", "is_last")
    COVER_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    LEFT_STATE_FIELD_NUMBER: _ClassVar[int]
    RIGHT_STATE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    LEFT_NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RIGHT_NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IS_LAST_FIELD_NUMBER: _ClassVar[int]
    cover: _types_pb2.Cover
    first_sequence: int
    left: _containers.RepeatedCompositeFieldContainer[_types_pb2.EventPage]
    right: _containers.RepeatedCompositeFieldContainer[_types_pb2.EventPage]
    left_state: _any_pb2.Any
    right_state: _any_pb2.Any
    fields: _containers.RepeatedScalarFieldContainer[str]
    left_next_sequence: int
    right_next_sequence: int
    is_last: bool
    def __init__(self, cover: _Optional[_Union[_types_pb2.Cover, _Mapping]] = ..., first_sequence: _Optional[int] = ..., left: _Optional[_Iterable[_Union[_types_pb2.EventPage, _Mapping]]] = ..., right: _Optional[_Iterable[_Union[_types_pb2.EventPage, _Mapping]]] = ..., left_state: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., right_state: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., fields: _Optional[_Iterable[str]] = ..., left_next_sequence: _Optional[int] = ..., right_next_sequence: _Optional[int] = ..., is_last: _Optional[bool] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("edition", "choices", "dry_run", "accept_conflicts", "correlation_id")
    EDITION_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    edition: str
    choices: _containers.RepeatedCompositeFieldContainer[PromotionChoice]
    dry_run: bool
    accept_conflicts: bool
    correlation_id: str
    def __init__(self, edition: _Optional[str] = ..., choices: _Optional[_Iterable[_Union[PromotionChoice, _Mapping]]] = ..., dry_run: _Optional[bool] = ..., accept_conflicts: _Optional[bool] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class PromotionChoice(_message.Message):
    __slots__ = ("domain", "root", "sequences")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    domain: str
    root: _types_pb2.UUID
    sequences: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, domain: _Optional[str] = ..., root: _Optional[_Union[_types_pb2.UUID, _Mapping]] = ..., sequences: _Optional[_Iterable[int]] = ...) -> None: ...

class StreamPromotion(_message.Message):
    __slots__ = ("cover", "judgement", "divergence", "main_next_sequence", "theirs", "mine", "overlap", "sequences", "recorded", "is_repeated", "is_last")
    COVER_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    MAIN_NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    THEIRS_FIELD_NUMBER: _ClassVar[int]
    MINE_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    IS_REPEATED_FIELD_NUMBER: _ClassVar[int]
    IS_LAST_FIELD_NUMBER: _ClassVar[int]
    cover: _types_pb2.Cover
    judgement: PromotionJudgement
    divergence: int
    main_next_sequence: int
    theirs: _containers.RepeatedScalarFieldContainer[str]
    mine: _containers.RepeatedScalarFieldContainer[str]
    overlap: _containers.RepeatedScalarFieldContainer[str]
    sequences: _containers.RepeatedScalarFieldContainer[int]
    recorded: _containers.RepeatedCompositeFieldContainer[_types_pb2.EventPage]
    is_repeated: bool
    is_last: bool
    def __init__(self, cover: _Optional[_Union[_types_pb2.Cover, _Mapping]] = ..., judgement: _Optional[_Union[PromotionJudgement, str]] = ..., divergence: _Optional[int] = ..., main_next_sequence: _Optional[int] = ..., theirs: _Optional[_Iterable[str]] = ..., mine: _Optional[_Iterable[str]] = ..., overlap: _Optional[_Iterable[str]] = ..., sequences: _Optional[_Iterable[int]] = ..., recorded: _Optional[_Iterable[_Union[_types_pb2.EventPage, _Mapping]]] = ..., is_repeated: _Optional[bool] = ..., is_last: _Optional[bool] = ...) -> None: ...
