"""The store in memory (`memory://`): the whole contract but durability.

It is the page to read for writing an adapter: every answer here is the one that every other
adapter gives, byte for byte. One lock guards all state and is held for a whole call, so each append
is atomic and the log's order is that of the commits. Appends never queue, so `limits.writer_queue`
is never reached and Overloaded does not occur. Two stores opened as `memory://` share nothing.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from angzarr import wire
from angzarr.cover import MAIN, Cover, Provenance
from angzarr.errors import (
    CascadeDecided,
    InvalidInput,
    MainProtected,
    PendingPages,
    SequenceConflict,
    SequenceExhausted,
    StoreClosed,
    StoreForked,
    UnknownCascade,
)
from angzarr.ports.clock import Clock
from angzarr.ports.columns import Columns, FieldSpec
from angzarr.ports.event_store import (
    ROLLBACK,
    SEQUENCE_MAX,
    Accepted,
    Appended,
    Book,
    Decision,
    Dropped,
    Duplicate,
    Limits,
    LogEntry,
    Obligation,
    Participant,
    Pending,
    SnapshotPolicy,
)
from angzarr.ports.stores import StoreFacts
from angzarr.stores import _pages, _rules
from angzarr.stores._declared import check_alive, check_quota
from angzarr.stores._memory_editions import MemoryEditions
from angzarr.stores._memory_ports import (
    MemoryDeadLetters,
    MemoryObligations,
    MemoryPositions,
    MemorySnapshots,
)
from angzarr.stores._memory_streams import Commit, Key, Stream, StreamKey, Streams, usage_of
from angzarr.stores._pages import Page
from angzarr.stores._scanning import Rows, Selection, check_scan
from angzarr.stores._waiters import Waiters


def open_stores(path: str, *, sync: bool, limits: Limits, clock: Clock) -> MemoryStores:
    """A new, empty store. `path` only names it in errors; `sync` means nothing here."""
    return MemoryStores(path, limits, clock)


class MemoryStores:
    """All ports over one lock; each port has the state that is its own."""

    def __init__(self, path: str, limits: Limits, clock: Clock) -> None:
        self.url = f"memory://{path}"
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._is_closed = False
        self._waiters = Waiters()
        self.snapshots = MemorySnapshots(self.serving, limits, clock)
        self.positions = MemoryPositions(self.serving, clock)
        self.obligations = MemoryObligations(self.serving)
        self.dead_letters = MemoryDeadLetters(self.serving, clock)
        self._streams = Streams()
        self.events = MemoryEvents(self, self._streams, limits, clock, self._waiters)
        self.editions = MemoryEditions(self.serving, self._streams, clock, self._forget_streams)

    @contextmanager
    def serving(self) -> Generator[None, None, None]:
        """Hold the lock of an open store; StoreForked, StoreClosed."""
        if (
            os.getpid() != self._process
        ):  # before the lock, which another thread may have held at the fork
            raise StoreForked(self.url, self._process, os.getpid())
        with self._lock:
            if self._is_closed:
                raise StoreClosed(self.url)
            yield

    def facts(self) -> StoreFacts:
        """What there is; size_bytes is 0, nothing being on disk."""
        with self.serving():
            return StoreFacts(self.url, False, 1, 0, self.events.figures())

    async def backup(
        self, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Refused: there is nothing on disk."""
        with self.serving():
            raise InvalidInput("store", "on disk for a backup", self.url)

    def _forget_streams(self, edition: str) -> None:
        kept = (self._streams.by_key, self.snapshots.keys(), self.positions.keys())
        for domain in {d for keys in kept for d, e, _ in keys if e == edition}:
            self.events.drop_timeline(domain, edition)

    async def close(self) -> None:
        """Refuse everything from now on, and end the waiting tails. Idempotent."""
        with self._lock:
            self._is_closed = True
        self._waiters.wake()


class MemoryEvents:
    """The event store: streams, the log and the cascades' decisions."""

    def __init__(
        self,
        stores: MemoryStores,
        streams: Streams,
        limits: Limits,
        clock: Clock,
        waiters: Waiters,
    ) -> None:
        self._serving = stores.serving
        self._snapshots = stores.snapshots
        self._positions = stores.positions
        self._obligations = stores.obligations
        self._limits = limits
        self._clock = clock
        self._waiters = waiters
        self._streams = streams
        self._decisions: dict[str, Decision] = {}
        self._log: list[tuple[StreamKey | None, LogEntry]] = []  # without a stream: deleted
        self._log_head = 0

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
        """All checks first, in the port's order; then changes that can't fail."""
        with self._serving():
            stream_key, key = _rules.stream_of(cover), _rules.key_of(provenance, external_id)
            _rules.check_append(self._limits, pages, snapshot=snapshot, key=key, answer=answer)
            snapshot_sequence, retention = (
                _pages.read_snapshot(snapshot) if snapshot is not None else (0, 0)
            )
            known = self._accepted(stream_key, key)
            if known is not None:
                return Duplicate(known.first, known.first + known.count - 1)
            if cascade_id in self._decisions:
                decision = self._decisions[cascade_id]
                raise CascadeDecided(cascade_id, decision.outcome, decision.reason)
            record = self._streams.declared.get(cover.edition)
            if record is not None:
                check_alive(record, self._clock)
            stream = self._streams.begun(cover, expected_sequence, divergence)
            if expected_sequence != stream.next_sequence:
                raise SequenceConflict(cover, expected_sequence, stream.next_sequence)
            read = [_pages.read_page(data, expected_sequence + i) for i, data in enumerate(pages)]
            if expected_sequence + len(pages) - 1 > SEQUENCE_MAX:
                raise SequenceExhausted(cover)
            if record is not None:
                check_quota(record, self._streams.usage(cover.edition), usage_of(read))

            self._streams.by_key[stream_key] = stream
            if key:
                stream.keys[key] = Key(expected_sequence, len(pages), cascade_id, answer)
            self._write(
                cover,
                stream,
                read,
                Commit(expected_sequence, len(pages), cover.correlation_id, cascade_id),
            )
            if snapshot is not None and not self._is_undecided(stream, snapshot_sequence):
                self._snapshots.store(
                    stream_key, snapshot, snapshot_sequence, retention, snapshot_policy
                )
            for obligation in obligations:
                if isinstance(obligation, Dropped):
                    self._obligations.drop(obligation.id)
                else:
                    self._obligations.store(obligation)
        self._waiters.wake()
        return Appended(expected_sequence, expected_sequence + len(pages) - 1)

    async def load(
        self,
        cover: Cover,
        *,
        start: int = 0,
        stop: int | None = None,
        divergence: int | None = None,
    ) -> Book:
        with self._serving():
            view = self._streams.view(cover, divergence)
            return _pages.read_book(cover, start, view.pages(start, stop), view.next_sequence)

    async def load_until(
        self, cover: Cover, time_ns: int, *, divergence: int | None = None
    ) -> Book:
        with self._serving():
            view = self._streams.view(cover, divergence)
            until = [(n, p) for n, p in enumerate(view.pages()) if p.created_at_ns <= time_ns]
            return _pages.sparse_book(cover, until, view.next_sequence)

    async def load_latest(self, cover: Cover, *, divergence: int | None = None) -> Book:
        with self._serving():
            view = self._streams.view(cover, divergence)
            found = self._snapshots.at(cover.stream, view.next_sequence - 1)
            below = reversed(view.inherited)
            while found is None and (stretch := next(below, None)):
                found = self._snapshots.at(stretch.key, stretch.stop - 1)
            start = found[0] + 1 if found else 0
            return _pages.read_book(cover, start, view.pages(start), view.next_sequence, found)

    async def next_sequence(self, cover: Cover, *, divergence: int | None = None) -> int:
        with self._serving():
            return self._streams.view(cover, divergence).next_sequence

    async def length_at(self, cover: Cover, position: int, *, divergence: int | None = None) -> int:
        with self._serving():
            view = self._streams.view(cover, divergence)
            for stretch in view.stretches:
                length = stretch.stream.published_at(position)
                if length < stretch.stop:
                    return length
            return view.next_sequence

    async def divergence(self, cover: Cover) -> int | None:
        with self._serving():
            stream = self._streams.get(_rules.stream_of(cover))
            return stream.base if stream and not cover.is_main else None

    async def pending(self, cover: Cover) -> list[Pending]:
        with self._serving():
            stream = self._streams.get(_rules.stream_of(cover))
            if stream is None:
                return []
            return [
                Pending(n, c, stream.own(n, 1)[0].created_at_ns)
                for n, c in stream.unresolved.items()
            ]

    async def roots(self, domain: str, edition: str = "") -> list[bytes]:
        with self._serving():
            wanted = domain, edition or MAIN
            return sorted(root for d, e, root in self._streams.written() if (d, e) == wanted)

    async def domains(self) -> list[str]:
        with self._serving():
            return sorted({domain for domain, _, _ in self._streams.written()})

    async def editions(self, domain: str) -> list[str]:
        with self._serving():
            return sorted({edition for d, edition, _ in self._streams.written() if d == domain})

    async def by_correlation(
        self, correlation_id: str, *, domain: str | None = None, edition: str | None = None
    ) -> list[Book]:
        with self._serving():
            books: list[Book] = []
            for stream_key in sorted(self._streams.by_key) if correlation_id else ():
                cover = _pages.cover_of(stream_key, correlation_id)
                if domain not in (None, cover.domain) or (
                    edition is not None and (edition or MAIN) != cover.edition
                ):
                    continue
                stream = self._streams.by_key[stream_key]
                commits = [c for c in stream.commits if c.correlation_id == correlation_id]
                pages = [page for c in commits for page in stream.own(c.first, c.count)]
                if pages:
                    books.append(_pages.correlated_book(cover, pages, stream.next_sequence))
            return books

    async def find_by_provenance(self, cover: Cover, provenance: Provenance) -> Accepted | None:
        with self._serving():
            return self._find(cover, _rules.key_of(provenance, ""))

    async def find_by_external_id(self, cover: Cover, external_id: str) -> Accepted | None:
        with self._serving():
            return self._find(cover, _rules.key_of(None, external_id))

    async def delete_edition(self, domain: str, edition: str) -> int:
        with self._serving():
            timeline = domain, edition or MAIN
            if timeline[1] == MAIN:
                raise MainProtected(domain)
            if not domain:
                raise InvalidInput("domain", "not empty", domain)
            self._streams.declared.check_unused(timeline[1])
            gone = [self._streams.by_key[key] for key in self._keys_of(*timeline)]
            undecided = {c for stream in gone for c in stream.unresolved.values()} - set(
                self._decisions
            )
            if undecided:
                raise PendingPages(domain, edition, sorted(undecided))
            return self.drop_timeline(*timeline)

    async def query_stale_cascades(self, before_ns: int) -> list[str]:
        with self._serving():
            return sorted(
                {
                    cascade_id
                    for stream in self._streams.by_key.values()
                    for sequence, cascade_id in stream.unresolved.items()
                    if cascade_id not in self._decisions
                    and stream.own(sequence, 1)[0].created_at_ns < before_ns
                }
            )

    async def query_unfinished_cascades(self) -> list[str]:
        with self._serving():
            unresolved = {
                c for stream in self._streams.by_key.values() for c in stream.unresolved.values()
            }
            return sorted(unresolved & set(self._decisions))

    async def query_cascade_participants(self, cascade_id: str) -> list[Participant]:
        with self._serving():
            found = [
                (key, stream.sequences_of(cascade_id))
                for key, stream in sorted(self._streams.by_key.items())
            ]
            return [
                Participant(_pages.cover_of(key), sequences)
                for key, sequences in found
                if sequences
            ]

    async def decide_cascade(self, cascade_id: str, outcome: str, reason: str = "") -> Decision:
        with self._serving():
            _rules.check_outcome(outcome)
            asked = Decision(cascade_id, outcome, reason, self._clock.now_ns())
            return self._decisions.setdefault(cascade_id, asked)

    async def decision(self, cascade_id: str) -> Decision | None:
        with self._serving():
            return self._decisions.get(cascade_id)

    async def resolve_cascade(self, cover: Cover, cascade_id: str) -> bytes | None:
        with self._serving():
            stream = self._streams.get(_rules.stream_of(cover))
            decision = self._decisions.get(cascade_id)
            if decision is None:
                raise UnknownCascade(cascade_id)
            sequences = stream.sequences_of(cascade_id) if stream else ()
            if not stream or not sequences:
                return None
            first = stream.next_sequence
            if first > SEQUENCE_MAX:
                raise SequenceExhausted(cover)
            data = _pages.marker(cover, first, sequences, decision, self._clock.now_ns())
            for sequence in sequences:
                del stream.unresolved[sequence]
            marker = Commit(first, 1, cover.correlation_id, is_marker=True)
            self._write(cover, stream, [_pages.read_page(data, first)], marker)
        self._waiters.wake()
        return data

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        def look() -> list[LogEntry]:
            with self._serving():
                entries = (entry for key, entry in self._logged(after) if key)
                return list(islice(entries, limit))

        return await self._waiters.until(look, wait_s)

    async def log_head(self) -> int:
        with self._serving():
            return self._log_head

    async def scan(
        self,
        after: int,
        *,
        limit: int = 65_536,
        editions: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        fields: Sequence[FieldSpec] = (),
    ) -> Columns:
        check_scan(limit, fields)
        selection, rows, last = Selection(editions, domains), Rows(fields), after
        with self._serving():
            for key, entry in self._logged(after):
                if last > after and entry.position - after > limit:
                    break
                last = entry.position
                if key and selection.has(key):
                    book = wire.EventBook.FromString(entry.book)
                    rows.add(key, entry.first_position, book.pages, after)
        return rows.columns(last)

    def figures(self) -> dict[str, str]:
        """For StoreFacts.details."""
        return {"streams": str(len(self._streams.written())), "log_head": str(self._log_head)}

    def drop_timeline(self, domain: str, edition: str) -> int:
        """Forget an edition in a domain, under the lock; count of its pages."""
        gone = self._keys_of(domain, edition)
        are_gone = set(gone)
        self._log = [
            (None, replace(entry, book=b"")) if key in are_gone else (key, entry)
            for key, entry in self._log
        ]
        self._snapshots.drop_edition(domain, edition)
        self._positions.drop_edition(domain, edition)
        return self._streams.drop(gone)

    # What the methods above share; all of it runs under the lock.

    def _write(self, cover: Cover, stream: Stream, pages: list[Page], commit: Commit) -> None:
        """Add one commit's pages and publish what nothing holds back."""
        if pages:
            stream.pages += pages
            stream.commits.append(commit)
            self._streams.count(cover.edition, pages)
            if commit.cascade_id:
                stream.unresolved |= dict.fromkeys(
                    range(commit.first, commit.first + commit.count), commit.cascade_id
                )
        for held in stream.commits[stream.published_count :]:
            if held.first in stream.unresolved:
                return  # it and all after it stay out of the log until it is resolved (CAS-9)
            stream.published_count += 1
            self._publish(replace(cover, correlation_id=held.correlation_id), stream, held)

    def _publish(self, cover: Cover, stream: Stream, commit: Commit) -> None:
        decision = self._decisions[commit.cascade_id] if commit.cascade_id else None
        stored = (page.data for page in stream.own(commit.first, commit.count))
        shown = _pages.as_published(stored, decision, is_marker=commit.is_marker)
        following = commit.first + commit.count
        book = _pages.book_bytes(cover, _pages.frames_of(shown), following)
        entry = LogEntry(self._log_head + commit.count, self._log_head + 1, book)
        self._log.append((cover.stream, entry))
        self._log_head = commit.position = entry.position

    def _logged(self, after: int) -> Iterator[tuple[StreamKey | None, LogEntry]]:
        """Entries of the log above a position, with their streams."""
        begin = bisect_right(self._log, after, key=lambda item: item[1].position)
        return (self._log[index] for index in range(begin, len(self._log)))

    def _keys_of(self, domain: str, edition: str) -> list[StreamKey]:
        return [key for key in self._streams.by_key if key[:2] == (domain, edition)]

    def _is_undecided(self, stream: Stream, sequence: int) -> bool:
        """Whether a pending page of the composite stream lies at or below `sequence` (SNAP-5)."""
        inherited = (n for s in stream.inherited for n in s.stream.unresolved if n < s.stop)
        return any(n <= sequence for n in (*stream.unresolved, *inherited))

    def _accepted(self, stream_key: StreamKey, key: bytes) -> Key | None:
        """What the key stands for, unless that was revoked."""
        stream = self._streams.get(stream_key)
        known = stream.keys.get(key) if stream else None
        decision = self._decisions.get(known.cascade_id) if known else None
        is_revoked = known and known.count and decision and decision.outcome == ROLLBACK
        return None if is_revoked else known

    def _find(self, cover: Cover, key: bytes) -> Accepted | None:
        known = self._accepted(_rules.stream_of(cover), key)
        if known is None:
            return None
        pages = self._streams.by_key[cover.stream].own(known.first, known.count)
        return Accepted(tuple(page.data for page in pages), known.answer)
