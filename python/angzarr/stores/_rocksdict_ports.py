"""The smaller ports of the rocksdict store: snapshots, positions, and the records of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from angzarr.cover import MAIN, Cover
from angzarr.ports.clock import Clock
from angzarr.ports.edition_store import EditionRecord
from angzarr.ports.event_store import Limits, SnapshotPolicy
from angzarr.stores import _pages, _records, _rules
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._declared import DeclaredEditions
from angzarr.stores._pages import NS_PER_S
from angzarr.stores._rocksdict_db import Db, number, text
from angzarr.stores._rules import Kept

if TYPE_CHECKING:
    from rocksdict import WriteBatch

StreamKey = tuple[str, str, bytes]
_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(EditionRecord).decode
_decode_lease = msgspec.msgpack.Decoder(tuple[str, int]).decode


class Shared:
    """What the ports of an open store share: the directory, the writers' lock, timelines."""

    def __init__(self, db: Db, *, is_sync: bool) -> None:
        self.db = db
        self.is_sync = is_sync
        self.lock = threading.RLock()
        self.names: dict[bytes, tuple[str, str]] = {}
        self._numbers: dict[tuple[str, str], bytes] = {}
        self._by_edition: dict[str, dict[str, bytes]] = {}
        newest = db.get(keys.META + b"timeline")
        self._newest_timeline = int.from_bytes(newest or b"", "big")
        for key, value in db.items(keys.TIMELINE, keys.after(keys.TIMELINE)):
            split = 3 + int.from_bytes(key[1:3], "big")
            self.know(key[3:split].decode(), key[split + 2 :].decode(), value)
        records = db.items(keys.EDITION, keys.after(keys.EDITION))
        self.declared = DeclaredEditions(_decode_record(value) for _, value in records)

    def prefix(self, stream: StreamKey) -> bytes | None:
        """The stream within keys; None if nothing was ever written on its timeline."""
        timeline = self._numbers.get(stream[:2])
        return None if timeline is None else timeline + stream[2]

    def prefix_for_writing(self, stream: StreamKey) -> bytes:
        """The stream within keys, under the lock.

        A new timeline gets its number in a write of its own: without pages nobody sees it.
        """
        timeline = self._numbers.get(stream[:2])
        if timeline is None:
            timeline = (self._newest_timeline + 1).to_bytes(4, "big")
            batch = self.db.batch()
            batch.put(keys.TIMELINE + text(stream[0]) + text(stream[1]), timeline)
            batch.put(keys.META + b"timeline", timeline)
            self.write(batch)
            self._newest_timeline += 1
            self.know(stream[0], stream[1], timeline)
        return timeline + stream[2]

    def know(self, domain: str, edition: str, timeline: bytes) -> None:
        """Remember the timeline's number."""
        self._numbers[domain, edition] = timeline
        self._by_edition.setdefault(edition, {})[domain] = timeline
        self.names[timeline] = domain, edition

    def forget(self, domain: str, edition: str) -> None:
        """The timeline is gone; its number is never used again."""
        del self.names[self._numbers.pop((domain, edition))]
        del self._by_edition[edition][domain]
        if not self._by_edition[edition]:
            del self._by_edition[edition]

    def timeline(self, domain: str, edition: str) -> bytes | None:
        """The timeline's number."""
        return self._numbers.get((domain, edition))

    def timelines_of(self, edition: str) -> list[tuple[str, bytes]]:
        """Domains where an edition has a number, with it."""
        return list(self._by_edition.get(edition, {}).items())

    def stream(self, prefix: bytes) -> StreamKey | None:
        """The stream of a prefix; None on a deleted timeline."""
        names = self.names.get(prefix[:4])
        return None if names is None else (*names, prefix[4:])

    def write(self, batch: WriteBatch) -> None:
        """As durable as the store was opened."""
        self.db.write(batch, is_sync=self.is_sync)


class DictSnapshots:
    """Snapshots per stream, by sequence."""

    def __init__(self, shared: Shared, limits: Limits, clock: Clock) -> None:
        self._shared = shared
        self._db = shared.db
        self._limits = limits
        self._clock = clock

    async def get(self, cover: Cover) -> bytes | None:
        return await self.get_at(cover, 2**32)

    async def get_at(self, cover: Cover, sequence: int) -> bytes | None:
        self._db.check()
        found = self.at(self._shared.prefix(_rules.stream_of(cover)), sequence)
        return found[1] if found else None

    async def put(
        self, cover: Cover, snapshot: bytes, policy: SnapshotPolicy = SnapshotPolicy()
    ) -> None:
        with self._shared.lock:
            self._db.check()
            stream = _rules.stream_of(cover)
            _rules.check_snapshot(self._limits, snapshot)
            sequence, retention = _pages.read_snapshot(snapshot)
            prefix = self._shared.prefix_for_writing(stream)
            batch = self._db.batch()
            self.store(batch, prefix, snapshot, Kept(sequence, retention, 0), policy)
            self._shared.write(batch)

    async def delete(self, cover: Cover) -> int:
        with self._shared.lock:
            self._db.check()
            prefix = self._shared.prefix(_rules.stream_of(cover))
            return 0 if prefix is None else self._delete_below(prefix)

    async def delete_all(self, domain: str, edition: str | None = None) -> int:
        with self._shared.lock:
            self._db.check()
            wanted = None if edition is None else edition or MAIN
            timelines = [
                timeline
                for timeline, (of, name) in self._shared.names.items()
                if of == domain and wanted in (None, name)
            ]
            return sum(map(self._delete_below, timelines))

    def _delete_below(self, prefix: bytes) -> int:
        """Delete the snapshots of a stream, or of a whole timeline, under the lock; their count."""
        batch = self._db.batch()
        begin = keys.SNAPSHOT + prefix
        stored = [key for key, _ in self._db.items(begin, begin + b"\xff" * 25)]
        for key in stored:
            batch.delete(key)
        if stored:
            self._shared.write(batch)
        return len(stored)

    def at(self, prefix: bytes | None, sequence: int) -> tuple[int, bytes] | None:
        """The newest at or below `sequence`, with its own sequence."""
        if prefix is None or sequence < 0:
            return None
        begin = keys.SNAPSHOT + prefix
        found = self._db.last(begin, begin + number(sequence + 1))
        return found and (int.from_bytes(found[0][-8:], "big"), found[1][12:])

    def store(
        self, batch: WriteBatch, prefix: bytes, data: bytes, put: Kept, policy: SnapshotPolicy
    ) -> None:
        """Put and clean up with `batch`, under the lock; the time of `put` is filled in."""
        now_ns = self._clock.now_ns()
        begin = keys.SNAPSHOT + prefix
        kept = {put.sequence: put._replace(stored_at_ns=now_ns)}
        for key, value in self._db.items(begin, begin + b"\xff"):
            sequence = int.from_bytes(key[-8:], "big")
            retention = int.from_bytes(value[:4], "big", signed=True)
            kept.setdefault(sequence, Kept(sequence, retention, int.from_bytes(value[4:12], "big")))
        head = put.retention.to_bytes(4, "big", signed=True) + now_ns.to_bytes(8, "big")
        batch.put(begin + number(put.sequence), head + data)
        for removed in _rules.expired(kept.values(), put.sequence, policy, now_ns):
            batch.delete(begin + number(removed))


class DictPositions:
    """How far consumers have come, and their leases."""

    def __init__(self, shared: Shared, clock: Clock) -> None:
        self._shared = shared
        self._db = shared.db
        self._clock = clock

    async def get(self, consumer: str, cover: Cover) -> int | None:
        self._db.check()
        prefix = self._shared.prefix(_rules.stream_of(cover))
        return None if prefix is None else self._number(keys.POSITION + text(consumer) + prefix)

    async def put(self, consumer: str, cover: Cover, sequence: int) -> int:
        stream = _rules.stream_of(cover)
        return self._advance(
            lambda: keys.POSITION + text(consumer) + self._shared.prefix_for_writing(stream),
            sequence,
        )

    async def cursor(self, consumer: str) -> int | None:
        self._db.check()
        return self._number(keys.CURSOR + text(consumer))

    async def put_cursor(self, consumer: str, position: int) -> int:
        return self._advance(lambda: keys.CURSOR + text(consumer), position)

    async def reset(self, consumer: str) -> None:
        with self._shared.lock:
            self._db.check()
            batch = self._db.batch()
            begin = keys.POSITION + text(consumer)
            for key, _ in self._db.items(begin, keys.after(begin)):
                batch.delete(key)
            batch.delete(keys.CURSOR + text(consumer))
            self._shared.write(batch)

    async def lease(self, consumer: str, partition: int, holder: str, ttl_s: float) -> bool:
        with self._shared.lock:
            self._db.check()
            now_ns = self._clock.now_ns()
            key = keys.LEASE + text(consumer) + partition.to_bytes(4, "big")
            stored = self._db.get(key)
            other, until_ns = (holder, now_ns) if stored is None else _decode_lease(stored)
            if other != holder and now_ns < until_ns:
                return False
            batch = self._db.batch()
            batch.put(key, _encode((holder, now_ns + int(ttl_s * NS_PER_S))))
            self._shared.write(batch)
            return True

    def _number(self, key: bytes) -> int | None:
        value = self._db.get(key)
        return None if value is None else int.from_bytes(value, "big")

    def _advance(self, key_of: Callable[[], bytes], value: int) -> int:
        with self._shared.lock:
            self._db.check()
            key = key_of()
            known = self._number(key)
            if known is not None and value <= known:
                return known
            batch = self._db.batch()
            batch.put(key, number(value))
            self._shared.write(batch)
            return value


class DictRecords:
    """Named durable values."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._db = shared.db

    def get(self, space: str, key: bytes) -> bytes | None:
        self._db.check()
        return self._db.get(keys.RECORD + text(space) + key)

    def scan(
        self, space: str, start: bytes | None, limit: int, *, is_reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        self._db.check()
        begin = keys.RECORD + text(space)
        skip = len(begin)
        found: list[tuple[bytes, bytes]] = []
        if not is_reverse:
            for key, value in self._db.items(begin + (start or b""), keys.after(begin)):
                if len(found) == limit:
                    break
                found.append((key[skip:], value))
            return found
        end = keys.after(begin) if start is None else begin + start
        while len(found) < limit and (row := self._db.last(begin, end)) is not None:
            found.append((row[0][skip:], row[1]))
            end = row[0]
        return found

    async def write(self, ops: Sequence[_records.RecordOp]) -> bool:
        with self._shared.lock:
            self._db.check()
            batch = self._db.batch()
            are_all_met = self.add(batch, ops)
            self._shared.write(batch)
            return are_all_met

    def add(self, batch: WriteBatch, ops: Sequence[_records.RecordOp]) -> bool:
        """Put `ops` into `batch`, under the lock; whether all conditions were met."""
        changed: dict[bytes, bytes | None] = {}
        is_met = are_all_met = True
        for op, space, name, value in ops:
            key = keys.RECORD + text(space) + name
            if op == _records.ANYWAY:
                is_met = True
            elif op == _records.ONLY_IF:
                is_met = self._now(changed, key) == (value or None)
                are_all_met = are_all_met and is_met
            elif is_met and op == _records.DELETE:
                batch.delete(key)
                changed[key] = None
            elif is_met and (op == _records.PUT or self._now(changed, key) is None):
                batch.put(key, value)
                changed[key] = value
        return are_all_met

    def _now(self, changed: Mapping[bytes, bytes | None], key: bytes) -> bytes | None:
        return changed[key] if key in changed else self._db.get(key)
