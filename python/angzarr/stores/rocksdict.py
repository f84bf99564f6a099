"""The same store in plain Python on the rocksdict package: what the native one is compared with.

One record per page, one WriteBatch per append, written under one lock and synced there: appends of
many threads are correct but share no flush. Reads take no lock. Nothing is awaited on the way, so a
thread may drive the coroutines with a loop of its own, or call `append_now`. Appends queue for the
lock in their own threads, so `limits.writer_queue` is never reached and Overloaded does not occur.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from angzarr.cover import MAIN, Cover, Provenance
from angzarr.errors import InvalidInput, MainProtected, PendingPages, UnknownCascade
from angzarr.ports.clock import Clock
from angzarr.ports.columns import Columns, FieldSpec
from angzarr.ports.event_store import (
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
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._records import RecordDeadLetters, RecordObligations
from angzarr.stores._rocksdict_db import FORMAT_VERSION, Db, size_of, text
from angzarr.stores._rocksdict_editions import DictEditions, Usages
from angzarr.stores._rocksdict_ports import DictPositions, DictRecords, DictSnapshots, Shared
from angzarr.stores._rocksdict_scan import scan
from angzarr.stores._rocksdict_streams import Streams, split_correlation, split_pending
from angzarr.stores._rocksdict_writer import Writer
from angzarr.stores._scanning import Selection, check_scan
from angzarr.stores._waiters import Waiters


def open_stores(path: str, *, sync: bool, limits: Limits, clock: Clock) -> DictStores:
    """Open the directory `path`, made if missing.

    Raises MissingExtra, StoreLocked, FormatTooNew, StoreUnavailable, CorruptData.
    """
    return DictStores(Shared(Db(path), is_sync=sync), limits, clock)


class DictStores:
    """All ports over one directory."""

    def __init__(self, shared: Shared, limits: Limits, clock: Clock) -> None:
        self._shared = shared
        self._db = shared.db
        self._waiters = Waiters()
        records = DictRecords(shared)
        self.snapshots = DictSnapshots(shared, limits, clock)
        self.positions = DictPositions(shared, clock)
        self.obligations = RecordObligations(records)
        self.dead_letters = RecordDeadLetters(records, clock)
        streams = Streams(shared)
        usages = Usages(streams)
        writer = Writer(streams, self.snapshots, records, self.obligations, usages, limits, clock)
        self.events = DictEvents(streams, writer, self.snapshots, self._waiters)
        self.editions = DictEditions(streams, writer, usages, clock)

    def facts(self) -> StoreFacts:
        self._db.check()
        details = {"timelines": str(len(self._shared.names))}
        is_durable = self._shared.is_sync
        return StoreFacts(
            self._db.url, is_durable, FORMAT_VERSION, size_of(Path(self._db.path)), details
        )

    async def backup(
        self, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._db.check()
        self._db.checkpoint(target)
        if progress is not None:
            size_bytes = size_of(target)
            progress(size_bytes, size_bytes)

    async def close(self) -> None:
        with self._shared.lock:
            self._db.close()
        self._waiters.wake()


class DictEvents:
    """The event store."""

    def __init__(
        self, streams: Streams, writer: Writer, snapshots: DictSnapshots, waiters: Waiters
    ) -> None:
        self._streams = streams
        self._writer = writer
        self._snapshots = snapshots
        self._waiters = waiters
        self._shared = streams.shared
        self._db = streams.shared.db

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
        return self.append_now(
            cover,
            expected_sequence,
            pages,
            divergence=divergence,
            snapshot=snapshot,
            snapshot_policy=snapshot_policy,
            cascade_id=cascade_id,
            provenance=provenance,
            external_id=external_id,
            answer=answer,
            obligations=obligations,
            sync=sync,
        )

    def append_now(
        self, cover: Cover, expected_sequence: int, pages: Sequence[bytes], **options: Any
    ) -> Appended | Duplicate:
        """`append` without a loop, with the same keywords; blocks the thread for the flush."""
        appended = self._writer.append(cover, expected_sequence, pages, **options)
        self._waiters.wake()
        return appended

    async def load(
        self,
        cover: Cover,
        *,
        start: int = 0,
        stop: int | None = None,
        divergence: int | None = None,
    ) -> Book:
        def read() -> Book:
            view = self._streams.view(cover, divergence)
            frames, is_plain = self._streams.frames(view, start, stop)
            following = start + len(frames) if frames else 0
            data = _pages.book_bytes(view.bare, b"".join(frames), following)
            return Book(data, view.next_sequence, is_plain)

        return self._streams.consistent(read)

    async def load_until(
        self, cover: Cover, time_ns: int, *, divergence: int | None = None
    ) -> Book:
        def read() -> Book:
            view = self._streams.view(cover, divergence)
            frames, _ = self._streams.frames(view, 0, None)
            pages = [(n, _pages.known_page(_pages.unframe(f))) for n, f in enumerate(frames)]
            until = [(n, page) for n, page in pages if page.created_at_ns <= time_ns]
            return _pages.sparse_book(cover, until, view.next_sequence)

        return self._streams.consistent(read)

    async def load_latest(self, cover: Cover, *, divergence: int | None = None) -> Book:
        def read() -> Book:
            view = self._streams.view(cover, divergence)
            found = self._snapshots.at(view.own, view.next_sequence - 1)
            below = reversed(view.inherited)
            while found is None and (part := next(below, None)):
                found = self._snapshots.at(part.prefix, part.stop - 1)
            start = found[0] + 1 if found else 0
            frames, is_plain = self._streams.frames(view, start, None)
            snapshot = found[1] if found else None
            following = start + len(frames)
            data = _pages.book_bytes(view.bare, b"".join(frames), following, snapshot)
            return Book(data, view.next_sequence, is_plain)

        return self._streams.consistent(read)

    async def next_sequence(self, cover: Cover, *, divergence: int | None = None) -> int:
        self._db.check()
        return self._streams.view(cover, divergence).next_sequence

    async def length_at(self, cover: Cover, position: int, *, divergence: int | None = None) -> int:
        self._db.check()
        view = self._streams.view(cover, divergence)
        return self._streams.length_at(view, position)

    async def divergence(self, cover: Cover) -> int | None:
        self._db.check()
        base = self._streams.head(_rules.stream_of(cover)).base
        return None if cover.is_main else base

    async def pending(self, cover: Cover) -> list[Pending]:
        self._db.check()
        stream = _rules.stream_of(cover)
        unresolved = self._streams.head(stream).unresolved
        pages = self._streams.pages_at(stream, unresolved)
        known = [_pages.known_page(page).created_at_ns for page in pages]
        return [Pending(n, c, t) for (n, c), t in zip(unresolved.items(), known, strict=True)]

    async def roots(self, domain: str, edition: str = "") -> list[bytes]:
        self._db.check()
        timeline = self._shared.timeline(domain, edition or MAIN)
        return [] if timeline is None else list(self._streams.roots(timeline))

    async def domains(self) -> list[str]:
        self._db.check()
        return sorted({domain for domain, _ in self._written()})

    async def editions(self, domain: str) -> list[str]:
        self._db.check()
        return sorted(edition for d, edition in self._written() if d == domain)

    async def by_correlation(
        self, correlation_id: str, *, domain: str | None = None, edition: str | None = None
    ) -> list[Book]:
        self._db.check()
        if not correlation_id:
            return []
        begin = keys.CORRELATION + text(correlation_id)
        found: dict[tuple[str, str, bytes], list[tuple[int, int]]] = {}
        for key, value in self._db.items(begin, keys.after(begin)):
            prefix, first = split_correlation(key)
            stream = self._shared.stream(prefix)
            if stream is None or domain not in (None, stream[0]):
                continue
            if edition is None or (edition or MAIN) == stream[1]:
                found.setdefault(stream, []).append((first, int.from_bytes(value, "big")))
        return [
            self._streams.correlated(_pages.cover_of(stream, correlation_id), found[stream])
            for stream in sorted(found)
        ]

    async def find_by_provenance(self, cover: Cover, provenance: Provenance) -> Accepted | None:
        return self._find(cover, _rules.key_of(provenance, ""))

    async def find_by_external_id(self, cover: Cover, external_id: str) -> Accepted | None:
        return self._find(cover, _rules.key_of(None, external_id))

    async def delete_edition(self, domain: str, edition: str) -> int:
        with self._shared.lock:
            self._db.check()
            edition = edition or MAIN
            if edition == MAIN:
                raise MainProtected(domain)
            if not domain:
                raise InvalidInput("domain", "not empty", domain)
            self._shared.declared.check_unused(edition)
            timeline = self._shared.timeline(domain, edition)
            if timeline is None:
                return 0
            pending = [k for k in self._pending_keys() if split_pending(k)[1][:4] == timeline]
            cascades = {split_pending(key)[0] for key in pending}
            undecided = [c for c in sorted(cascades) if self._streams.decision(c) is None]
            if undecided:
                raise PendingPages(domain, edition, undecided)
            return self._writer.delete_timeline(domain, edition, timeline, pending)

    async def query_stale_cascades(self, before_ns: int) -> list[str]:
        self._db.check()
        old = {
            split_pending(key)[0]
            for key, value in self._db.items(keys.PENDING, keys.after(keys.PENDING))
            if int.from_bytes(value, "big", signed=True) < before_ns
        }
        return sorted(c for c in old if self._streams.decision(c) is None)

    async def query_unfinished_cascades(self) -> list[str]:
        self._db.check()
        cascades = {split_pending(key)[0] for key in self._pending_keys()}
        return sorted(c for c in cascades if self._streams.decision(c) is not None)

    async def query_cascade_participants(self, cascade_id: str) -> list[Participant]:
        self._db.check()
        found: dict[tuple[str, str, bytes], list[int]] = {}
        begin = keys.PENDING + text(cascade_id)
        for key, _ in self._db.items(begin, keys.after(begin)):
            _, prefix, sequence = split_pending(key)
            if stream := self._shared.stream(prefix):
                found.setdefault(stream, []).append(sequence)
        return [Participant(_pages.cover_of(s), tuple(found[s])) for s in sorted(found)]

    async def decide_cascade(self, cascade_id: str, outcome: str, reason: str = "") -> Decision:
        with self._shared.lock:
            self._db.check()
            _rules.check_outcome(outcome)
            known = self._streams.decision(cascade_id)
            return known or self._writer.decide(cascade_id, outcome, reason)

    async def decision(self, cascade_id: str) -> Decision | None:
        self._db.check()
        return self._streams.decision(cascade_id)

    async def resolve_cascade(self, cover: Cover, cascade_id: str) -> bytes | None:
        with self._shared.lock:
            self._db.check()
            stream = _rules.stream_of(cover)
            decision = self._streams.decision(cascade_id)
            if decision is None:
                raise UnknownCascade(cascade_id)
            marker = self._writer.resolve(cover, stream, decision)
        self._waiters.wake()
        return marker

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        def look() -> list[LogEntry]:
            self._db.check()
            return self._streams.entries(after, limit)

        return await self._waiters.until(look, wait_s)

    async def log_head(self) -> int:
        self._db.check()
        return self._streams.log_head

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
        self._db.check()
        return scan(self._streams, after, limit, Selection(editions, domains), fields)

    def _find(self, cover: Cover, key: bytes) -> Accepted | None:
        self._db.check()
        stream = _rules.stream_of(cover)
        known = self._streams.accepted(stream, key)
        if known is None:
            return None
        sequences = range(known.first, known.first + known.page_count)
        return Accepted(tuple(self._streams.pages_at(stream, sequences)), known.answer)

    def _pending_keys(self) -> list[bytes]:
        return [key for key, _ in self._db.items(keys.PENDING, keys.after(keys.PENDING))]

    def _written(self) -> list[tuple[str, str]]:
        known = list(self._shared.names.items())
        return [names for timeline, names in known if next(self._streams.roots(timeline), None)]
