"""What callers ask and what they are answered: value objects, and the messages they travel in. No
I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any as Untyped
from typing import Final, Literal, TypeVar

from google.protobuf import message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor_pool import Default as default_pool
from google.protobuf.message import DecodeError

from angzarr import codec, points, wire
from angzarr.codec import Payload
from angzarr.cover import MAIN, Cover, Provenance, root_of
from angzarr.cover import Root as Root
from angzarr.errors import CorruptData
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.decorators import MERGES
from angzarr.handlers.decorators import Merge as Merge
from angzarr.points import At as At

COMMANDS: Final = "/angzarr.CommandHandlerCoordinatorService/"
QUERIES: Final = "/angzarr.EventQueryService/"
HISTORY: Final = "/angzarr.HistoryService/"
STREAMS: Final = "/angzarr.EventStreamService/"
SPECULATIONS: Final = "/angzarr.SpeculationService/"

HANDLE_COMMAND: Final = COMMANDS + "HandleCommand"
HANDLE_EVENT: Final = COMMANDS + "HandleEvent"
HANDLE_SPECULATIVE: Final = COMMANDS + "HandleSyncSpeculative"
HANDLE_COMPENSATION: Final = COMMANDS + "HandleCompensation"
GET_EVENT_BOOK: Final = QUERIES + "GetEventBook"
GET_EVENTS: Final = QUERIES + "GetEvents"
SYNCHRONIZE: Final = QUERIES + "Synchronize"
GET_AGGREGATE_ROOTS: Final = QUERIES + "GetAggregateRoots"
GET_STATE: Final = HISTORY + "GetState"
GET_POSITION: Final = HISTORY + "GetPosition"
SUBSCRIBE: Final = STREAMS + "Subscribe"
SPECULATE: Final = SPECULATIONS + "Run"

CALLER: Final = "_caller"
"""Domain of the made-up source that names one send; reserved, so no stream of a user's can have
it."""

Sync = Literal["async", "simple", "cascade"]
OnFailure = Literal["fail_fast", "continue", "compensate", "dead_letter"]

MERGE_NAMES: Final[Mapping[int, Merge]] = {
    wire.MERGE_COMMUTATIVE: "commutative",
    wire.MERGE_STRICT: "strict",
    wire.MERGE_AGGREGATE_HANDLES: "aggregate_handles",
    wire.MERGE_MANUAL: "manual",
}
FAILURES: Final[Mapping[str, wire.CascadeErrorMode]] = {
    "fail_fast": wire.CASCADE_ERROR_FAIL_FAST,
    "continue": wire.CASCADE_ERROR_CONTINUE,
    "compensate": wire.CASCADE_ERROR_COMPENSATE,
    "dead_letter": wire.CASCADE_ERROR_DEAD_LETTER,
}
SYNCS: Final[Mapping[str, wire.SyncMode]] = {
    "async": wire.SYNC_MODE_ASYNC,
    "simple": wire.SYNC_MODE_SIMPLE,
    "cascade": wire.SYNC_MODE_CASCADE,
}
PROVENANCE_KEY: Final = "angzarr-provenance-bin"
CORRELATION_KEY: Final = "x-correlation-id"
RAW_KEY: Final = "angzarr-raw"

E = TypeVar("E")
Decode = Callable[[wire.EventPage], object]


@dataclass(frozen=True, slots=True)
class Event:
    """One page of a stream.

    cover: its stream. created_at: UTC, to the microsecond; the page has the nanoseconds.
    type_name: the full name.
    payload: an instance of its class where that is known; the decoded JSON of an unknown
    dataclass; else the message's bytes. page: the page as it came.
    """

    cover: Cover = field(repr=False)
    sequence: int
    created_at: datetime
    type_name: str
    payload: object
    page: wire.EventPage = field(repr=False, compare=False)

    @property
    def is_pending(self) -> bool:
        """Whether it waits for the decision of a cascade (WIRE-8)."""
        return not self.page.committed and bool(self.page.cascade_id)


@dataclass(frozen=True, slots=True)
class Book:
    """The pages of one stream that a query asked for. next_sequence: that of WIRE-9 and QRY-9."""

    cover: Cover
    events: tuple[Event, ...]
    next_sequence: int

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer to a command or a fact.

    events: those that it appended, or that its first acceptance did. next_sequence: the stream's.
    is_duplicate: a fact that had been recorded before; nothing was written now.
    """

    cover: Cover = field(repr=False)
    events: tuple[Event, ...]
    next_sequence: int
    projections: tuple[wire.Projection, ...] = ()
    cascade_errors: tuple[wire.CascadeError, ...] = ()
    is_duplicate: bool = False

    @property
    def sequences(self) -> tuple[int, ...]:
        """Sequences of the events, ascending."""
        return tuple(event.sequence for event in self.events)


@dataclass(frozen=True, slots=True)
class Target:
    """Where calls go: a domain, a branch and where it starts (None: unset); and how events decode.

    aggregate: the class that was given instead of a name.
    """

    domain: str
    edition: str = ""
    divergence: int | None = None
    aggregate: type[Aggregate] | None = None
    decode: Decode = field(default=lambda page: opened(page.event), compare=False)

    @classmethod
    def of(
        cls,
        target: str | type[Aggregate],
        edition: str,
        divergence: int | None,
        types: Iterable[type[Payload]],
    ) -> Target:
        """A target from what `Caller.domain` takes."""
        if isinstance(target, str):
            return cls(target, edition, divergence, None, decoder(types, target))
        table = target.table()
        known = [*(kind.cls for kind in table.events.values()), *types]
        return cls(table.domain, edition, divergence, target, decoder(known, table.domain))

    def merge_of(self, command: Payload) -> Merge | None:
        """The strategy that `@command(merge=…)` of the class names for this command."""
        if self.aggregate is None:
            return None
        if isinstance(command, Any):
            name = codec.full_name(command.type_url)
        else:
            name = codec.payload_type(type(command), self.domain).name
        method = self.aggregate.table().commands.get(name)
        return MERGE_NAMES.get(method.merge) if method and method.merge is not None else None

    def rebuild(self, pages: Iterable[wire.EventPage]) -> Untyped:
        """The aggregate after the pages; there is a class."""
        assert self.aggregate is not None
        return self.aggregate.table().load(None, pages)

    def on(self, edition: str, divergence: int | None) -> Target:
        """The same on another branch."""
        return replace(self, edition=edition, divergence=divergence)

    def cover(self, root: Root, correlation_id: str = "") -> wire.Cover:
        """The wire's cover of a root; its bytes are taken as they are, and checked by the
        server."""
        cover = wire.Cover(
            root=wire.UUID(value=root_of(root)), domain=self.domain, correlation_id=correlation_id
        )
        if self.edition or self.divergence is not None:
            cover.edition.name = self.edition or MAIN
        if self.divergence is not None:
            cover.edition.divergences.add(domain=self.domain, sequence=self.divergence)
        return cover


def decoder(types: Iterable[type[Payload]], domain: str = "") -> Decode:
    """Decodes a page to one of `types` by its full name; without one of them as far as it can be
    told."""
    known = {kind.name: kind for kind in (codec.payload_type(t, domain) for t in types)}

    def decode(page: wire.EventPage) -> object:
        kind = known.get(codec.full_name(page.event.type_url))
        if kind is None:
            return opened(page.event)
        return kind.read_event(page.event.value, f"page {page.header.sequence}")

    return decode


def opened(packed: Any) -> object:
    """The message where its class is imported, the decoded JSON of a dataclass, else the bytes."""
    if packed.type_url.startswith(codec.JSON_PREFIX):
        try:
            return codec.plain(packed.type_url, packed.value)
        except CorruptData:
            return packed.value
    try:
        descriptor = default_pool().FindMessageTypeByName(codec.full_name(packed.type_url))
        return message_factory.GetMessageClass(descriptor).FromString(packed.value)
    except (KeyError, DecodeError):
        return packed.value


def pack(payload: Payload, domain: str) -> Any:
    """The payload as an Any; an Any is taken as it is."""
    return payload if isinstance(payload, Any) else codec.pack(payload, domain)


def command_request(
    cover: wire.Cover,
    command: Payload,
    *,
    expected_sequence: int | None,
    merge: Merge | None,
    idempotency: str,
    sync_mode: Sync,
    on_failure: OnFailure,
    cascade_id: str,
) -> tuple[bytes, dict[str, str | bytes]]:
    """A CommandRequest and its metadata; `caller.Domain.send` says what the choices mean."""
    request = wire.CommandRequest(
        sync_mode=_choice("sync_mode", sync_mode, SYNCS),
        cascade_error_mode=_choice("on_failure", on_failure, FAILURES),
    )
    request.command.cover.CopyFrom(cover)
    page = request.command.pages.add()
    if isinstance(command, Any):
        page.command.CopyFrom(command)
    else:
        page.command.type_url, page.command.value = codec.encode(command, cover.domain)
    metadata: dict[str, str | bytes] = {}
    if merge not in (None, "aggregate_handles") and expected_sequence is None:
        raise ValueError(f"merge={merge!r} compares sequences; give expected_sequence too")
    if expected_sequence is None and merge is None:
        # A source that stands for one send: the key of CMD-26 is this, the type name and the
        # command's bytes.
        source = page.header.angzarr_deferred.source
        source.domain = CALLER
        source.root.value = root_of(idempotency) if idempotency else uuid.uuid4().bytes
    else:
        page.header.sequence = expected_sequence or 0
        page.merge_strategy = _choice("merge", merge or "commutative", MERGES)
        if idempotency:
            key = Provenance(Cover(CALLER, root_of(idempotency)), 0)
            metadata[PROVENANCE_KEY] = provenance_bytes(key)
    if cascade_id:
        request.cascade_id = cascade_id
    if cover.correlation_id:
        metadata[CORRELATION_KEY] = cover.correlation_id
    return request.SerializeToString(), metadata


def provenance_bytes(provenance: Provenance) -> bytes:
    """The wire's Provenance, as `angzarr-provenance-bin` carries it (WIRE-12)."""
    if isinstance(provenance.index, bytes):
        raise TypeError("an index of bytes is made by the receiver and does not travel")
    source = wire.Cover(
        root=wire.UUID(value=provenance.source.root), domain=provenance.source.domain
    )
    source.edition.name = provenance.source.edition
    return wire.Provenance(
        source=source,
        source_seq=provenance.source_seq,
        component=provenance.component,
        index=provenance.index,
        kind=wire.ProvenanceKind.Name(provenance.kind),
    ).SerializeToString()


def speculation_request(cover: wire.Cover, command: Payload, *, at: At | None) -> bytes:
    """A SpeculateCommandHandlerRequest."""
    request = wire.SpeculateCommandHandlerRequest()
    request.command.cover.CopyFrom(cover)
    request.command.pages.add().command.CopyFrom(pack(command, cover.domain))
    if at is not None:
        request.point_in_time.CopyFrom(points.temporal(at))
    return request.SerializeToString()


def fact_request(
    cover: wire.Cover, events: Sequence[Payload], *, external_id: str, sync_mode: Sync
) -> bytes:
    """An EventRequest of facts; the first one's header carries the external id (FACT-3)."""
    if not events:
        raise ValueError("give at least one event to record")
    request = wire.EventRequest(sync_mode=_choice("sync_mode", sync_mode, SYNCS))
    request.events.cover.CopyFrom(cover)
    for event in events:
        page = request.events.pages.add()
        page.header.external_deferred.external_id = external_id
        page.event.CopyFrom(pack(event, cover.domain))
    return request.SerializeToString()


def query(
    cover: wire.Cover,
    *,
    first: int | None = None,
    last: int | None = None,
    sequences: Iterable[int] | None = None,
    at: At | None = None,
) -> bytes:
    """A Query; at most one of first/last, sequences and at."""
    is_range = first is not None or last is not None
    if sum((is_range, sequences is not None, at is not None)) > 1:
        raise ValueError("choose one of first/last, sequences and at")
    request = wire.Query(cover=cover)
    if is_range:
        request.range.lower = first or 0
        if last is not None:
            request.range.upper = last
    elif sequences is not None:
        request.sequences.SetInParent()
        request.sequences.values.extend(sequences)
    elif at is not None:
        request.temporal.CopyFrom(points.temporal(at))
    return request.SerializeToString()


def sent(response: bytes, decode: Decode) -> Sent:
    """The result in an encoded CommandResponse."""
    message = wire.CommandResponse.FromString(response)
    return Sent(
        cover_of(message.events.cover),
        tuple(events_of(message.events, decode)),
        message.events.next_sequence,
        tuple(message.projections),
        tuple(message.cascade_errors),
    )


def recorded(response: bytes, decode: Decode) -> Sent:
    """The result in an encoded FactInjectionResponse."""
    message = wire.FactInjectionResponse.FromString(response)
    return Sent(
        cover_of(message.events.cover),
        tuple(events_of(message.events, decode)),
        message.events.next_sequence,
        tuple(message.projections),
        is_duplicate=message.already_processed,
    )


def book(data: bytes, decode: Decode) -> Book:
    """An encoded EventBook."""
    message = wire.EventBook.FromString(data)
    events = tuple(events_of(message, decode))
    return Book(cover_of(message.cover), events, message.next_sequence)


def state(response: bytes) -> Untyped:
    """The state in an encoded StateResponse, opened as far as it can be told; None without one."""
    message = wire.StateResponse.FromString(response)
    return opened(message.state) if message.HasField("state") else None


def events_of(message: wire.EventBook, decode: Decode) -> Iterator[Event]:
    """The book's pages as events."""
    cover = cover_of(message.cover)
    for page in message.pages:
        created_at = points.moment(page.created_at)
        name = codec.full_name(page.event.type_url)
        yield Event(cover, page.header.sequence, created_at, name, decode(page), page)


def cover_of(message: wire.Cover) -> Cover:
    """The wire's cover as ours; divergences are left out."""
    return Cover(message.domain, message.root.value, message.edition.name, message.correlation_id)


def _choice(name: str, value: str, allowed: Mapping[str, E]) -> E:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return allowed[value]
