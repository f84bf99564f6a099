"""The default store (`rocksdb://PATH`): the ports over the native engine.

Reads call the engine right away, with the interpreter released: they take microseconds. Writes are
queued for the engine's one committer, and a future of the calling loop completes when their group
is durable. One process owns the directory; in it any number of threads and event loops may use the
store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from angzarr._native import Change, Store
from angzarr.cover import MAIN, Cover, Provenance
from angzarr.errors import InvalidInput
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
from angzarr.stores import _copies, _rocksdb_columns, _rules
from angzarr.stores._pages import NS_PER_S
from angzarr.stores._records import RecordDeadLetters, RecordObligations, RecordOp
from angzarr.stores._rocksdb_columns import POSITION_MAX
from angzarr.stores._rocksdb_editions import RocksEditions
from angzarr.stores._rocksdb_engine import Engine

CACHE_BYTES: Final = 64 * 1024 * 1024
"""Hot tails: the newest part of streams that are in use, ready to be answered with."""
BLOCK_CACHE_BYTES: Final = 64 * 1024 * 1024
"""RocksDB's cache of uncompressed blocks."""
WRITE_BUFFER_BYTES: Final = 32 * 1024 * 1024
"""What RocksDB collects in memory before it writes a table."""
TAIL_INLINE_MAX: Final = 256
"""Entries of one read of the log that keep the event loop for less than a thread would cost."""
TIME_NS_MAX: Final = 2**63 - 1


def open_stores(path: str, *, sync: bool, limits: Limits, clock: Clock) -> RocksStores:
    """Open the directory `path`, made if missing.

    Raises StoreLocked, FormatTooNew, StoreUnavailable, CorruptData.
    """
    native = open_engine(path, sync=sync, limits=limits)
    _copies.remove_leftovers(Path(path))
    return RocksStores(path, native, sync=sync, clock=clock)


def open_engine(path: str, *, sync: bool = True, limits: Limits | None = None) -> Store:
    """The engine alone, for tools that check a store. Raises as open_stores."""
    if not path:
        raise InvalidInput("store", "a URL with a path, as in rocksdb://data", "rocksdb://")
    limits = limits or Limits()
    return Store.open(
        path,
        sync,
        limits.max_pages_per_append,
        limits.max_append_bytes,
        limits.writer_queue,
        CACHE_BYTES,
        BLOCK_CACHE_BYTES,
        WRITE_BUFFER_BYTES,
    )


@dataclass(frozen=True, slots=True)
class Verified:
    """A store that was read as a whole and is sound. position: the head of its log."""

    stream_count: int
    page_count: int
    position: int


class RocksStores:
    """All ports over one engine."""

    def __init__(self, path: str, native: Store, *, sync: bool, clock: Clock) -> None:
        self.path = Path(path)
        self._is_sync = sync
        self._engine = Engine(native, clock)
        records = EngineRecords(self._engine)
        self.snapshots = RocksSnapshots(self._engine)
        self.positions = RocksPositions(self._engine)
        self.obligations = RecordObligations(records)
        self.events = RocksEvents(self._engine, self.obligations)
        self.editions = RocksEditions(self._engine)
        self.dead_letters = RecordDeadLetters(records, clock)

    def facts(self) -> StoreFacts:
        """details: log_head, memory_bytes, groups and appends committed since opening."""
        format_version, size_bytes, *figures = self._engine.native.facts()
        names = ("log_head", "memory_bytes", "group_count", "append_count")
        details = {name: str(value) for name, value in zip(names, figures, strict=True)}
        url = f"rocksdb://{self.path}"
        return StoreFacts(url, self._is_sync, format_version, size_bytes, details)

    async def backup(
        self, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """As the port says; `stores/backup.py` restores it.

        progress is called in the calling loop.
        """
        loop = asyncio.get_running_loop()

        def report(done_bytes: int, all_bytes: int) -> None:
            if progress:
                loop.call_soon_threadsafe(progress, done_bytes, all_bytes)

        await self._engine.in_thread(
            _copies.back_up, self._engine.native, self.path, target, report
        )

    async def verify(self) -> Verified:
        """Read the whole store and check it while it serves. Raises CorruptData."""
        return Verified(*await self._engine.in_thread(self._engine.native.verify))

    async def close(self) -> None:
        """As the port says."""
        await self._engine.close()


class RocksEvents:
    """The event store; its methods are the port's."""

    def __init__(self, engine: Engine, obligations: RecordObligations) -> None:
        self._engine = engine
        self._native = engine.native
        self._obligations = obligations

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
        source = _rules.key_of(provenance, external_id) if provenance is not None else None
        change = Change.append(
            cover,
            expected_sequence,
            pages,
            self._engine.now_ns(),
            divergence,
            snapshot,
            snapshot_policy.keep_last,
            snapshot_policy.max_age_s,
            cascade_id,
            source,
            external_id.encode() or None,
            answer,
            self._obligations.append_ops(obligations) if obligations else [],
            sync,
        )
        first, last, is_duplicate = await self._engine.write(change)
        if obligations and not is_duplicate:
            self._obligations.end_leases(obligations)
        return Duplicate(first, last) if is_duplicate else Appended(first, last)

    async def load(
        self,
        cover: Cover,
        *,
        start: int = 0,
        stop: int | None = None,
        divergence: int | None = None,
    ) -> Book:
        return Book(*self._native.load(cover, start, stop, divergence))

    async def load_until(
        self, cover: Cover, time_ns: int, *, divergence: int | None = None
    ) -> Book:
        time_ns = min(max(time_ns, -TIME_NS_MAX), TIME_NS_MAX)
        return Book(*self._native.load_until(cover, time_ns, divergence))

    async def load_latest(self, cover: Cover, *, divergence: int | None = None) -> Book:
        return Book(*self._native.load_latest(cover, divergence))

    async def next_sequence(self, cover: Cover, *, divergence: int | None = None) -> int:
        return self._native.next_sequence(cover, divergence)

    async def length_at(self, cover: Cover, position: int, *, divergence: int | None = None) -> int:
        position = min(max(position, 0), POSITION_MAX)
        return self._native.length_at(cover, position, divergence)

    async def divergence(self, cover: Cover) -> int | None:
        return self._native.divergence(cover)

    async def pending(self, cover: Cover) -> list[Pending]:
        return [Pending(*page) for page in self._native.pending(cover)]

    async def roots(self, domain: str, edition: str = "") -> list[bytes]:
        return await self._engine.in_thread(self._native.roots, domain, edition or MAIN)

    async def domains(self) -> list[str]:
        return await self._engine.in_thread(self._native.domains)

    async def editions(self, domain: str) -> list[str]:
        return await self._engine.in_thread(self._native.editions, domain)

    async def by_correlation(
        self, correlation_id: str, *, domain: str | None = None, edition: str | None = None
    ) -> list[Book]:
        edition = MAIN if edition == "" else edition
        books = self._native.by_correlation(correlation_id, domain, edition)
        return [Book(*book) for book in books]

    async def find_by_provenance(self, cover: Cover, provenance: Provenance) -> Accepted | None:
        return _accepted(self._native.find_provenance(cover, _rules.key_of(provenance, "")))

    async def find_by_external_id(self, cover: Cover, external_id: str) -> Accepted | None:
        # The engine is asked for "" too, which is never there, so that a closed store refuses it.
        return _accepted(self._native.find_external(cover, external_id.encode()))

    async def delete_edition(self, domain: str, edition: str) -> int:
        return await self._engine.write(Change.delete_edition(domain, edition or MAIN))

    async def query_stale_cascades(self, before_ns: int) -> list[str]:
        return self._native.stale_cascades(min(before_ns, TIME_NS_MAX))

    async def query_unfinished_cascades(self) -> list[str]:
        return self._native.unfinished_cascades()

    async def query_cascade_participants(self, cascade_id: str) -> list[Participant]:
        return [
            Participant(Cover(domain, root, edition), tuple(sequences))
            for (domain, edition, root), sequences in self._native.participants(cascade_id)
        ]

    async def decide_cascade(self, cascade_id: str, outcome: str, reason: str = "") -> Decision:
        _rules.check_outcome(outcome)
        change = Change.decide(cascade_id, outcome, reason, self._engine.now_ns())
        return Decision(*await self._engine.write(change))

    async def decision(self, cascade_id: str) -> Decision | None:
        found = self._native.decision(cascade_id)
        return Decision(*found) if found else None

    async def resolve_cascade(self, cover: Cover, cascade_id: str) -> bytes | None:
        return await self._engine.write(Change.resolve(cover, cascade_id, self._engine.now_ns()))

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        deadline: float | None = None
        while True:
            # The head is read first: what is committed meanwhile ends the wait at once. Waiting for
            # more than the head, and not than `after`, skips deleted editions without spinning.
            head = self._native.log_head()
            entries = await self._entries(after, min(limit, max(head - after, 0)))
            if entries or wait_s <= 0.0:
                return entries
            now = asyncio.get_running_loop().time()
            deadline = now + wait_s if deadline is None else deadline
            if now >= deadline:
                return entries
            await self._engine.log_above(max(head, after), deadline - now)

    async def log_head(self) -> int:
        return self._native.log_head()

    async def scan(
        self,
        after: int,
        *,
        limit: int = 65_536,
        editions: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        fields: Sequence[FieldSpec] = (),
    ) -> Columns:
        return await _rocksdb_columns.scan(self._engine, after, limit, editions, domains, fields)

    async def _entries(self, after: int, limit: int) -> list[LogEntry]:
        if limit <= TAIL_INLINE_MAX:
            return [LogEntry(*entry) for entry in self._native.tail(after, limit)]
        found = await self._engine.in_thread(self._native.tail, after, limit)
        return [LogEntry(*entry) for entry in found]


class RocksSnapshots:
    """The snapshot store; its methods are the port's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, cover: Cover) -> bytes | None:
        return self._engine.native.snapshot_get(cover)

    async def get_at(self, cover: Cover, sequence: int) -> bytes | None:
        return self._engine.native.snapshot_get_at(cover, sequence)

    async def put(
        self, cover: Cover, snapshot: bytes, policy: SnapshotPolicy = SnapshotPolicy()
    ) -> None:
        now_ns = self._engine.now_ns()
        change = Change.put_snapshot(cover, snapshot, policy.keep_last, policy.max_age_s, now_ns)
        await self._engine.write(change)

    async def delete(self, cover: Cover) -> int:
        return await self._engine.write(Change.delete_snapshots(cover))

    async def delete_all(self, domain: str, edition: str | None = None) -> int:
        edition = MAIN if edition == "" else edition
        return await self._engine.write(Change.delete_all_snapshots(domain, edition))


class RocksPositions:
    """The position store; its methods are the port's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, consumer: str, cover: Cover) -> int | None:
        return self._engine.native.position(consumer, cover)

    async def put(self, consumer: str, cover: Cover, sequence: int) -> int:
        return await self._engine.write(Change.put_position(consumer, cover, sequence))

    async def cursor(self, consumer: str) -> int | None:
        return self._engine.native.cursor(consumer)

    async def put_cursor(self, consumer: str, position: int) -> int:
        return await self._engine.write(Change.put_cursor(consumer, position))

    async def reset(self, consumer: str) -> None:
        await self._engine.write(Change.reset_consumer(consumer))

    async def lease(self, consumer: str, partition: int, holder: str, ttl_s: float) -> bool:
        ttl_ns = int(ttl_s * NS_PER_S)
        change = Change.lease(consumer, partition, holder, ttl_ns, self._engine.now_ns())
        return await self._engine.write(change)


class EngineRecords:
    """The engine's named values, as obligations and dead letters need them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, space: str, key: bytes) -> bytes | None:
        return self._engine.native.record(space, key)

    def scan(
        self, space: str, start: bytes | None, limit: int, *, is_reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        return self._engine.native.records(space, start, limit, is_reverse)

    async def write(self, ops: Sequence[RecordOp]) -> bool:
        return await self._engine.write(Change.records(ops))


def _accepted(found: tuple[list[bytes], bytes] | None) -> Accepted | None:
    return Accepted(tuple(found[0]), found[1]) if found else None
