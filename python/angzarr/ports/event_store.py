"""The event store port: what a coordinator needs of a store (STO-1 to STO-16).

Pages and books cross as encoded `EventPage` and `EventBook` messages. Times are nanoseconds since
the epoch. The memory store (`stores/memory.py`) is the page to read when you write an adapter;
`angzarr.testing.contracts` is the suite it has to pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from angzarr.cover import Cover, Provenance
from angzarr.ports.columns import Columns, FieldSpec

SEQUENCE_MAX: Final = 2**32 - 1
ANSWER_BYTES_MAX: Final = 64 * 1024

COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one append and of the writer's queue (STO-6)."""

    max_pages_per_append: int = 1_000
    max_append_bytes: int = 4 * 1024 * 1024
    writer_queue: int = 4_096


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """Retention when a newer snapshot is durable (SNAP-6, SNAP-7). max_age_s: 0 is off."""

    keep_last: int = 1
    max_age_s: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """A read's result.

    data: an encoded EventBook: cover (no correlation id, no divergences, edition named), the
    snapshot where one was
        used, pages ascending, next_sequence by WIRE-9.
    next_sequence: the first free sequence of the *stream*, whatever part of it was read.
    is_plain: no page read carries a cascade_id or a framework event, so the visibility transform
    changes nothing.
    """

    data: bytes
    next_sequence: int
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """The sequences that an append wrote, `first` to `last` inclusive; `last` is `first - 1`
    without pages."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The append's key was known: the range of the first acceptance, nothing written now."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an idempotency key stands for: the encoded pages, and the kept answer (COMP-5), b""
    without one."""

    pages: tuple[bytes, ...]
    answer: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """A page of a cascade that no marker of its stream resolves yet; `created_at_ns` is the page's
    own time."""

    sequence: int
    cascade_id: str
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class Participant:
    """A stream with unresolved pages of a cascade; sequences ascending, the cover without
    correlation id."""

    cover: Cover
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The one durable outcome of a cascade: COMMIT or ROLLBACK."""

    cascade_id: str
    outcome: str
    reason: str
    decided_at_ns: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit's visible pages of one stream, in the publication log.

    position: that of its last page; each page has one, from 1 on, without gaps.
    first_position: that of its first page: the previous entry's position + 1.
    book: encoded EventBook, the cover with correlation id.
    """

    position: int
    first_position: int
    book: bytes


@dataclass(frozen=True, slots=True)
class Obligation:
    """A durable duty that is written with the pages that cause it (STO-23). payload is opaque,
    due_ns when it is due.

    is_replacing: of how it is stored: in place of the one with its id, if any, whose lease ends
    (TIMER-2). Else a known id is left as it is.
    """

    id: str
    kind: str
    payload: bytes
    due_ns: int
    attempts: int = 0
    last_error: str = ""
    is_replacing: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """In place of an obligation: the one with this id, if any, is no duty any more (TIMER-3)."""

    id: str


class EventStore(Protocol):
    """Streams of pages, the publication log and the cascade records of one backend.

    Every method raises StoreClosed after close(), StoreForked in a forked child, StoreUnavailable
    when the backend fails, CorruptData when what it reads is not what was written. Any spelling of
    main reaches main.
    """

    async def append(
        self,
        cover: Cover,
        expected_sequence: int,
        pages: Sequence[bytes],
        *,
        divergence: int | None = None,
        snapshot: bytes | None = None,
        snapshot_policy: SnapshotPolicy = SnapshotPolicy(),
        cascade_id: str = "",
        provenance: Provenance | None = None,
        external_id: str = "",
        answer: bytes = b"",
        obligations: Sequence[Obligation | Dropped] = (),
        sync: bool | None = None,
    ) -> Appended | Duplicate:
        """Append encoded EventPages to the stream of `cover`: all parts of the call, or none
        (STO-3, STO-10 to STO-13).

        expected_sequence: next free sequence as the caller saw it; 0 for a new stream.
        pages: headers numbered expected_sequence + i. None is allowed only with a key or a
        snapshot.
        divergence: for the first write of a branch, where it starts: None is expected_sequence
        (implicit; beyond
            main's end a SequenceConflict).
        snapshot: an encoded Snapshot, dropped while a pending page lies at or below its sequence.
        cascade_id: the pages are pending (their own committed and cascade_id say so too).
        provenance, external_id: at most one; known and not wholly revoked → Duplicate, before any
        other check.
        answer: kept with the key, at most 64 KiB. obligations: stored and dropped in their order.
        sync: overrides the store's choice for this
        append.

        Raises InvalidInput (page headers, a cover's, key's or page's form), TooLarge,
        SequenceExhausted, SequenceConflict,
        InvalidDivergence (beyond the parent's next_sequence), DivergenceConflict (branch pinned
        elsewhere), CascadeDecided, EditionExpired, QuotaExceeded,
        Overloaded; whatever it raises, nothing was written. Durable on return when synced.
        Order of the checks: closed, limits, duplicate, cascade decided, expired, divergence,
        sequence, page headers, exhausted, quota.
        """
        ...

    async def load(
        self,
        cover: Cover,
        *,
        start: int = 0,
        stop: int | None = None,
        divergence: int | None = None,
    ) -> Book:
        """Pages [start, stop) of the composite stream; none for an unknown stream.

        divergence: read-up-to-N of a branch that has no pages yet; InvalidDivergence and
        DivergenceConflict as append.
        """
        ...

    async def load_until(
        self, cover: Cover, time_ns: int, *, divergence: int | None = None
    ) -> Book:
        """Pages with created_at ≤ time_ns as instants, composite. A page without created_at counts
        as time 0."""
        ...

    async def load_latest(self, cover: Cover, *, divergence: int | None = None) -> Book:
        """The newest usable snapshot (SNAP-10; none beyond the head) and the pages after it;
        without one as load()."""
        ...

    async def next_sequence(self, cover: Cover, *, divergence: int | None = None) -> int:
        """First free sequence of the composite stream (EDN-6)."""
        ...

    async def length_at(self, cover: Cover, position: int, *, divergence: int | None = None) -> int:
        """How many leading pages of the composite stream were in the log when its head was at
        `position` (QRY-16): all before the first page that was not. Each page has a position of its
        own; one that is held back has none yet."""
        ...

    async def divergence(self, cover: Cover) -> int | None:
        """Where the branch is pinned; None on main and before its first write."""
        ...

    async def pending(self, cover: Cover) -> list[Pending]:
        """The stream's own unresolved pending pages, ascending."""
        ...

    async def roots(self, domain: str, edition: str = "") -> list[bytes]:
        """Distinct roots with at least one page on exactly this edition, ascending."""
        ...

    async def domains(self) -> list[str]:
        """Distinct domains with at least one page on any edition, ascending."""
        ...

    async def editions(self, domain: str) -> list[str]:
        """Distinct editions of the domain with at least one page, ascending, main as "angzarr"."""
        ...

    async def by_correlation(
        self, correlation_id: str, *, domain: str | None = None, edition: str | None = None
    ) -> list[Book]:
        """Per stream that carries the id a book of only those pages, order (domain, edition, root).

        The book's cover carries the id, and its next_sequence, inside `data` too, is the stream's.
        "" → none.
        """
        ...

    async def find_by_provenance(self, cover: Cover, provenance: Provenance) -> Accepted | None:
        """What was accepted under the key on exactly this stream; None if nothing, or only revoked
        pages."""
        ...

    async def find_by_external_id(self, cover: Cover, external_id: str) -> Accepted | None:
        """As find_by_provenance, for a fact's external id; "" → None."""
        ...

    async def delete_edition(self, domain: str, edition: str) -> int:
        """Delete pages, snapshots, stream positions, keys and pins of the edition in the domain;
        count of its pages.

        Raises MainProtected for main, InvalidInput for an empty domain, EditionInUse while declared
        editions have it as parent, PendingPages. Absent → 0.
        """
        ...

    async def query_stale_cascades(self, before_ns: int) -> list[str]:
        """Undecided cascades with a pending page created strictly before `before_ns`, ids
        ascending (CAS-31)."""
        ...

    async def query_unfinished_cascades(self) -> list[str]:
        """Decided cascades with pages that no marker resolves yet, ids ascending (CAS-17,
        CAS-31)."""
        ...

    async def query_cascade_participants(self, cascade_id: str) -> list[Participant]:
        """Streams with pages of the cascade that no marker resolves, order (domain, edition,
        root)."""
        ...

    async def decide_cascade(self, cascade_id: str, outcome: str, reason: str = "") -> Decision:
        """Record COMMIT or ROLLBACK unless a decision exists; the decision in force, durable
        (CAS-11)."""
        ...

    async def decision(self, cascade_id: str) -> Decision | None:
        """The cascade's decision, if any."""
        ...

    async def resolve_cascade(self, cover: Cover, cascade_id: str) -> bytes | None:
        """Append the marker that the decision asks for to the stream, and release its held pages
        (CAS-9, CAS-14).

        The marker: {header.sequence, created_at = the store's clock, Confirmation or Revocation of
        the stream's unresolved sequences of this cascade, committed, cascade_id}; its log entry and
        its page in the correlation index carry cover.correlation_id, its target does not.
        Returns the encoded marker page; None when nothing is unresolved. Raises UnknownCascade
        without a decision.
        """
        ...

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        """Log entries with position > `after`, ascending, at most `limit`; waits up to wait_s for
        the first.
        close() ends a wait with StoreClosed.

        Entries of deleted editions are skipped. Pages of an entry are as consumers see them:
        released revoked pages and markers as NoOps, released confirmed pages with committed=true
        (CAS-9).
        """
        ...

    async def log_head(self) -> int:
        """Position of the newest log entry; 0 for an empty log."""
        ...

    async def scan(
        self,
        after: int,
        *,
        limit: int = 65_536,
        editions: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        fields: Sequence[FieldSpec] = (),
    ) -> Columns:
        """Rows of the log with position > `after`, ascending, as columns: at most `limit` positions
        are looked at, of whatever stream; a commit's pages together, the first commit's always.
        A position within a commit as `after` leaves out its rows up to there.

        editions, domains: only these, exactly; None is all; any spelling of main is main. Pages are
        as consumers see them (see `tail`), those of deleted editions left out. Raises InvalidInput
        for a limit below 1 and for a field that can't be meant.
        """
        ...
