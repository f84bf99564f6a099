"""What is asked and answered about editions: value objects, and the messages they travel in. No
I/O; `edition_caller.Editions` is who asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from google.protobuf.any_pb2 import Any

from angzarr import calls, wire
from angzarr.calls import Decode, Event
from angzarr.cover import MAIN, Cover, Root, root_of
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.state import read_state
from angzarr.points import moment, timestamp

SERVICE: Final = "/angzarr.EditionService/"
DECLARE: Final = SERVICE + "Declare"
GET: Final = SERVICE + "Get"
LIST: Final = SERVICE + "List"
LIST_BRANCHES: Final = SERVICE + "ListBranches"
DELETE: Final = SERVICE + "Delete"
DIFF: Final = SERVICE + "Diff"
PROMOTE: Final = SERVICE + "Promote"

Judgement = Literal["clean", "disjoint", "conflict", "repeated"]
"""clean: main has not grown since the branch left it. disjoint: it has changed other fields.
conflict: it has changed the same ones, or that can't be told. repeated: the same events were
promoted before."""

Aggregates = Mapping[str, type[Aggregate]]
"""Classes by domain."""

_JUDGEMENTS: Final[Mapping[int, Judgement]] = {
    wire.PROMOTION_CLEAN: "clean",
    wire.PROMOTION_DISJOINT: "disjoint",
    wire.PROMOTION_CONFLICT: "conflict",
}
_PLAIN: Final = calls.decoder(())


@dataclass(frozen=True, slots=True)
class Declared:
    """The record of a declared edition.

    parent: what it is a branch of; "angzarr" is main. expires_at: UTC; None is never. max_pages,
    max_bytes: of its own pages over all domains, 0 is no limit.
    """

    name: str
    parent: str
    created_at: datetime
    expires_at: datetime | None
    max_pages: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Edition:
    """An edition as it is now.

    record: None where it was never declared. page_count, byte_count: of its own pages, over all
    domains. stream_counts: by domain, of its own streams.
    """

    name: str
    record: Declared | None
    page_count: int
    byte_count: int
    stream_counts: Mapping[str, int]

    @property
    def parent(self) -> str:
        """What it is a branch of; "angzarr" is main."""
        return self.record.parent if self.record else MAIN


@dataclass(frozen=True, slots=True)
class Branch:
    """A stream of an edition: the first sequence that is its own, and the first free one."""

    cover: Cover
    divergence: int
    next_sequence: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted. page_counts: by domain; was_declared: whether there was a record."""

    page_counts: Mapping[str, int]
    was_declared: bool


@dataclass(frozen=True, slots=True)
class Side:
    """One of two editions of a stream that differ.

    events: from where they differ on. state: the aggregate where its class is known; else what it
    was encoded as, opened as far as can be; None without a stream, or where nobody can tell.
    packed: the state as it came.
    """

    edition: str
    events: tuple[Event, ...]
    next_sequence: int
    state: object
    packed: Any | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """A stream that differs between two editions, from `first_sequence` on.

    fields: of the states that differ, `name` or `name[key]`; "*" where that can't be told.
    """

    domain: str
    root: bytes
    first_sequence: int
    left: Side
    right: Side
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """What to promote of a branch: events of one stream, or whole streams.

    domain: by name or class. root: None is every stream of the domain. sequences: of the branch's
    own events; none are all of them.
    """

    domain: str
    root: bytes | None
    sequences: tuple[int, ...]

    def __init__(
        self,
        domain: str | type[Aggregate],
        root: Root | None = None,
        sequences: Iterable[int] = (),
    ) -> None:
        object.__setattr__(self, "domain", domain_of(domain))
        object.__setattr__(self, "root", None if root is None else root_of(root))
        object.__setattr__(self, "sequences", tuple(sequences))


@dataclass(frozen=True, slots=True)
class PromotedStream:
    """A stream's part of a promotion.

    divergence: where the branch left main. main_next_sequence: main's first free sequence when it
    was judged. theirs: fields that main has changed since; mine: fields that the chosen events
    change; overlap: those in both; "*" where that can't be told. sequences: the chosen ones, of the
    branch. events: what was recorded of them on main; none on a dry run, and where nothing was.
    """

    domain: str
    root: bytes
    judgement: Judgement
    divergence: int
    main_next_sequence: int
    theirs: tuple[str, ...]
    mine: tuple[str, ...]
    overlap: tuple[str, ...]
    sequences: tuple[int, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Promotion:
    """The report of a promotion, stream by stream."""

    edition: str
    streams: tuple[PromotedStream, ...]
    is_dry_run: bool

    @property
    def is_recorded(self) -> bool:
        """Whether all that was chosen is on main, now or since an earlier promotion."""
        return all(stream.events for stream in self.streams)

    @property
    def conflicts(self) -> tuple[PromotedStream, ...]:
        """The streams that are in conflict with what main has become."""
        return tuple(stream for stream in self.streams if stream.judgement == "conflict")

    def __iter__(self) -> Iterator[PromotedStream]:
        return iter(self.streams)


def domain_of(target: str | type[Aggregate]) -> str:
    """The domain's name, given by name or class."""
    return target if isinstance(target, str) else target.table().domain


def known(aggregates: Aggregates, target: str | type[Aggregate]) -> Aggregates:
    """`aggregates`, and the target where it is a class."""
    return aggregates if isinstance(target, str) else {**aggregates, domain_of(target): target}


def declare_request(
    name: str,
    *,
    parent: str,
    ttl: timedelta | None,
    expires_at: datetime | None,
    max_pages: int,
    max_bytes: int,
) -> bytes:
    """A DeclareEditionRequest. Raises ValueError for both of ttl and expires_at, a time without a
    zone, and negative numbers."""
    if ttl is not None and expires_at is not None:
        raise ValueError("ttl and expires_at say the same thing; give one of them")
    request = wire.DeclareEditionRequest(
        name=name, parent=parent, max_pages=max_pages, max_bytes=max_bytes
    )
    if ttl is not None:
        request.ttl.FromTimedelta(ttl)
    if expires_at is not None:
        if expires_at.tzinfo is None:
            raise ValueError(f"expires_at={expires_at.isoformat()} needs a time zone")
        request.expires_at.CopyFrom(timestamp(expires_at))
    return request.SerializeToString()


def declared(data: bytes) -> Declared:
    """An encoded EditionRecord."""
    return _declared(wire.EditionRecord.FromString(data))


def edition(data: bytes) -> Edition:
    """An encoded EditionStatus."""
    status = wire.EditionStatus.FromString(data)
    return Edition(
        status.name,
        _declared(status.record) if status.HasField("record") else None,
        status.page_count,
        status.byte_count,
        {item.domain: item.stream_count for item in status.domains},
    )


def branch(data: bytes, name: str) -> Branch:
    """An encoded BranchStatus of the edition."""
    status = wire.BranchStatus.FromString(data)
    cover = Cover(status.domain, status.root.value, name)
    return Branch(cover, status.divergence, status.next_sequence)


def deleted(data: bytes) -> Deleted:
    """An encoded DeleteEditionResponse."""
    response = wire.DeleteEditionResponse.FromString(data)
    counts = {item.domain: item.page_count for item in response.domains}
    return Deleted(counts, response.was_declared)


def diff_request(left: str, right: str, domain: str, root: Root | None) -> bytes:
    """A DiffEditionsRequest."""
    request = wire.DiffEditionsRequest(left=left, right=right, domain=domain)
    if root is not None:
        request.root.value = root_of(root)
    return request.SerializeToString()


def promote_request(
    name: str,
    choices: Iterable[Choice],
    *,
    dry_run: bool,
    accept_conflicts: bool,
    correlation_id: str,
) -> bytes:
    """A PromoteRequest."""
    request = wire.PromoteRequest(
        edition=name,
        dry_run=dry_run,
        accept_conflicts=accept_conflicts,
        correlation_id=correlation_id,
    )
    for choice in choices:
        added = request.choices.add(domain=choice.domain, sequences=choice.sequences)
        if choice.root is not None:
            added.root.value = choice.root
    return request.SerializeToString()


@dataclass(slots=True)
class Differences:
    """Puts the parts of differences together. aggregates: classes that events and states are read
    with."""

    left: str
    right: str
    aggregates: Aggregates
    _whole: wire.StreamDifference = field(default_factory=wire.StreamDifference)

    def add(self, data: bytes) -> Difference | None:
        """Take an encoded StreamDifference; the difference if it is complete with it."""
        self._whole.MergeFromString(data)
        whole = self._whole
        if not whole.is_last:
            return None
        self._whole = wire.StreamDifference()
        cover = whole.cover
        cls = self.aggregates.get(cover.domain)
        left_state = whole.left_state if whole.HasField("left_state") else None
        right_state = whole.right_state if whole.HasField("right_state") else None
        return Difference(
            cover.domain,
            cover.root.value,
            whole.first_sequence,
            _side(cover, self.left, whole.left, whole.left_next_sequence, left_state, cls),
            _side(cover, self.right, whole.right, whole.right_next_sequence, right_state, cls),
            tuple(whole.fields),
        )


@dataclass(slots=True)
class Promotions:
    """Puts the parts of a promotion's streams together."""

    aggregates: Aggregates
    _whole: wire.StreamPromotion = field(default_factory=wire.StreamPromotion)

    def add(self, data: bytes) -> PromotedStream | None:
        """Take an encoded StreamPromotion; the stream's part if it is complete with it."""
        self._whole.MergeFromString(data)
        whole = self._whole
        if not whole.is_last:
            return None
        self._whole = wire.StreamPromotion()
        domain, root = whole.cover.domain, whole.cover.root.value
        events = _events(Cover(domain, root), whole.recorded, self.aggregates.get(domain))
        return PromotedStream(
            domain,
            root,
            "repeated" if whole.is_repeated else _JUDGEMENTS.get(whole.judgement, "conflict"),
            whole.divergence,
            whole.main_next_sequence,
            tuple(whole.theirs),
            tuple(whole.mine),
            tuple(whole.overlap),
            tuple(whole.sequences),
            events,
        )


def _declared(record: wire.EditionRecord) -> Declared:
    return Declared(
        record.name,
        record.parent,
        moment(record.created_at),
        moment(record.expires_at) if record.HasField("expires_at") else None,
        record.max_pages,
        record.max_bytes,
    )


def _side(
    address: wire.Cover,
    name: str,
    pages: Iterable[wire.EventPage],
    following: int,
    packed: Any | None,
    cls: type[Aggregate] | None,
) -> Side:
    cover = Cover(address.domain, address.root.value, name)
    state: object = None
    if cls is not None and packed is not None:
        state = read_state(cls.table().states, packed, f"the state of {cover}")
    elif packed is not None:
        state = _PLAIN(wire.EventPage(event=packed))
    elif cls is not None and not following:
        state = cls.table().initial()
    return Side(cover.edition, _events(cover, pages, cls), following, state, packed)


def _events(
    cover: Cover, pages: Iterable[wire.EventPage], cls: type[Aggregate] | None
) -> tuple[Event, ...]:
    decode: Decode = _PLAIN
    if cls is not None:
        decode = calls.Target.of(cls, "", None, ()).decode
    book = wire.EventBook(pages=pages)
    book.cover.domain, book.cover.root.value = cover.domain, cover.root
    book.cover.edition.name = cover.edition
    return tuple(calls.events_of(book, decode))
