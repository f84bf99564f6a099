"""The smaller ports of the memory store: snapshots, positions, obligations, dead letters."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from angzarr.cover import MAIN, Cover
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetter
from angzarr.ports.event_store import Limits, Obligation, SnapshotPolicy
from angzarr.stores import _pages, _rules
from angzarr.stores._pages import NS_PER_S
from angzarr.stores._rules import Kept

StreamKey = tuple[str, str, bytes]
Serving = Callable[[], AbstractContextManager[None]]
"""Holds the store's lock and refuses when it is closed or forked."""


@dataclass(slots=True)
class StoredSnapshot:
    data: bytes
    kept: Kept


class MemorySnapshots:
    """Snapshots per stream, by sequence."""

    def __init__(self, serving: Serving, limits: Limits, clock: Clock) -> None:
        self._serving = serving
        self._limits = limits
        self._clock = clock
        self._streams: dict[StreamKey, dict[int, StoredSnapshot]] = {}

    async def get(self, cover: Cover) -> bytes | None:
        with self._serving():
            found = self.at(_rules.stream_of(cover), None)
            return found[1] if found else None

    async def get_at(self, cover: Cover, sequence: int) -> bytes | None:
        with self._serving():
            found = self.at(_rules.stream_of(cover), sequence)
            return found[1] if found else None

    async def put(
        self, cover: Cover, snapshot: bytes, policy: SnapshotPolicy = SnapshotPolicy()
    ) -> None:
        with self._serving():
            stream_key = _rules.stream_of(cover)
            _rules.check_snapshot(self._limits, snapshot)
            self.store(stream_key, snapshot, *_pages.read_snapshot(snapshot), policy)

    async def delete(self, cover: Cover) -> int:
        with self._serving():
            return len(self._streams.pop(_rules.stream_of(cover), {}))

    async def delete_all(self, domain: str, edition: str | None = None) -> int:
        with self._serving():
            wanted = None if edition is None else edition or MAIN
            found = [key for key in self._streams if key[0] == domain and wanted in (None, key[1])]
            return sum(len(self._streams.pop(key)) for key in found)

    def at(self, stream_key: StreamKey, sequence: int | None) -> tuple[int, bytes] | None:
        """The newest, or the newest at or below `sequence`, with its own sequence."""
        stored = self._streams.get(stream_key, {})
        newest = max((n for n in stored if sequence is None or n <= sequence), default=None)
        return None if newest is None else (newest, stored[newest].data)

    def store(
        self,
        stream_key: StreamKey,
        data: bytes,
        sequence: int,
        retention: int,
        policy: SnapshotPolicy,
    ) -> None:
        """Put and clean up, under the caller's lock."""
        now_ns = self._clock.now_ns()
        stored = self._streams.setdefault(stream_key, {})
        stored[sequence] = StoredSnapshot(data, Kept(sequence, retention, now_ns))
        for removed in _rules.expired(
            (one.kept for one in stored.values()), sequence, policy, now_ns
        ):
            del stored[removed]

    def keys(self) -> set[StreamKey]:
        """Streams that have snapshots, under the caller's lock."""
        return set(self._streams)

    def drop_edition(self, domain: str, edition: str) -> None:
        """Forget the edition's snapshots, under the caller's lock."""
        self._streams = {k: v for k, v in self._streams.items() if k[:2] != (domain, edition)}


class MemoryPositions:
    """How far consumers have come, and their leases."""

    def __init__(self, serving: Serving, clock: Clock) -> None:
        self._serving = serving
        self._clock = clock
        self._sequences: dict[tuple[str, StreamKey], int] = {}
        self._cursors: dict[str, int] = {}
        self._leases: dict[tuple[str, int], tuple[str, int]] = {}

    async def get(self, consumer: str, cover: Cover) -> int | None:
        with self._serving():
            return self._sequences.get((consumer, _rules.stream_of(cover)))

    async def put(self, consumer: str, cover: Cover, sequence: int) -> int:
        with self._serving():
            place = consumer, _rules.stream_of(cover)
            self._sequences[place] = max(sequence, self._sequences.get(place, sequence))
            return self._sequences[place]

    async def cursor(self, consumer: str) -> int | None:
        with self._serving():
            return self._cursors.get(consumer)

    async def put_cursor(self, consumer: str, position: int) -> int:
        with self._serving():
            self._cursors[consumer] = max(position, self._cursors.get(consumer, position))
            return self._cursors[consumer]

    async def reset(self, consumer: str) -> None:
        with self._serving():
            self._sequences = {k: v for k, v in self._sequences.items() if k[0] != consumer}
            self._cursors.pop(consumer, None)

    async def lease(self, consumer: str, partition: int, holder: str, ttl_s: float) -> bool:
        with self._serving():
            now_ns = self._clock.now_ns()
            other, until_ns = self._leases.get((consumer, partition), (holder, now_ns))
            if other != holder and now_ns < until_ns:
                return False
            self._leases[consumer, partition] = holder, now_ns + int(ttl_s * NS_PER_S)
            return True

    def keys(self) -> set[StreamKey]:
        """Streams that consumers have positions in, under the caller's lock."""
        return {stream_key for _, stream_key in self._sequences}

    def drop_edition(self, domain: str, edition: str) -> None:
        """Forget the edition's stream positions, under the caller's lock."""
        self._sequences = {
            k: v for k, v in self._sequences.items() if k[1][:2] != (domain, edition)
        }


class MemoryObligations:
    """Obligations by id, with the time until which each is leased."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._open: dict[str, tuple[Obligation, int]] = {}

    async def put(self, obligation: Obligation) -> None:
        with self._serving():
            self.store(obligation)

    async def get(self, obligation_id: str) -> Obligation | None:
        with self._serving():
            return self._open.get(obligation_id, (None, 0))[0]

    async def due(
        self,
        now_ns: int,
        *,
        limit: int = 64,
        lease_s: float = 30.0,
        kinds: Collection[str] | None = None,
    ) -> list[Obligation]:
        with self._serving():
            free = [
                o
                for o, until_ns in self._open.values()
                if o.due_ns <= now_ns and until_ns <= now_ns and (kinds is None or o.kind in kinds)
            ]
            taken = sorted(free, key=lambda o: (o.due_ns, o.id))[:limit]
            for obligation in taken:
                self._open[obligation.id] = obligation, now_ns + int(lease_s * NS_PER_S)
            return taken

    async def next_due(self, *, kinds: Collection[str] | None = None) -> int | None:
        with self._serving():
            times = [
                max(o.due_ns, until_ns)
                for o, until_ns in self._open.values()
                if kinds is None or o.kind in kinds
            ]
            return min(times, default=None)

    async def renew(self, obligation_id: str, until_ns: int) -> None:
        with self._serving():
            known, old_ns = self._open.get(obligation_id, (None, 0))
            if known is not None and old_ns:
                self._open[obligation_id] = known, max(old_ns, until_ns)

    async def retry(
        self,
        obligation_id: str,
        due_ns: int,
        error: str,
        *,
        seen: Obligation | None = None,
        is_counted: bool = True,
    ) -> None:
        with self._serving():
            known, _ = self._open.get(obligation_id, (None, 0))
            if known is not None and seen in (None, known):
                count = known.attempts + is_counted
                again = replace(known, due_ns=due_ns, attempts=count, last_error=error)
                self._open[obligation_id] = again, 0

    async def close(self, obligation_id: str, *, seen: Obligation | None = None) -> None:
        with self._serving():
            known, _ = self._open.get(obligation_id, (None, 0))
            if seen in (None, known):
                self.drop(obligation_id)

    def store(self, obligation: Obligation) -> None:
        """Keep it unless the id is known or it is the very same, under the caller's lock."""
        known, _ = self._open.get(obligation.id, (None, 0))
        if known is None or (obligation.is_replacing and known != obligation):
            self._open[obligation.id] = obligation, 0

    def drop(self, obligation_id: str) -> None:
        """Remove it if it is there, under the caller's lock."""
        self._open.pop(obligation_id, None)


class MemoryDeadLetters:
    """Dead letters under ascending ids."""

    def __init__(self, serving: Serving, clock: Clock) -> None:
        self._serving = serving
        self._clock = clock
        self._newest_ns = 0
        self._letters: dict[str, DeadLetter] = {}

    async def put(self, letter: bytes) -> str:
        with self._serving():
            now_ns = self._clock.now_ns()
            self._newest_ns = max(now_ns, self._newest_ns + 1)  # the clock may stand or go back
            letter_id = f"{self._newest_ns:016x}"
            self._letters[letter_id] = DeadLetter(letter_id, letter, now_ns)
            return letter_id

    async def list(self, *, before: str | None = None, limit: int = 50) -> list[DeadLetter]:
        with self._serving():
            ids = sorted((i for i in self._letters if before is None or i < before), reverse=True)
            return [self._letters[letter_id] for letter_id in ids[:limit]]

    async def get(self, letter_id: str) -> DeadLetter | None:
        with self._serving():
            return self._letters.get(letter_id)

    async def delete(self, letter_id: str) -> bool:
        with self._serving():
            return self._letters.pop(letter_id, None) is not None

    async def count_replay(self, letter_id: str) -> int | None:
        with self._serving():
            known = self._letters.get(letter_id)
            if known is None:
                return None
            self._letters[letter_id] = replace(known, replay_count=known.replay_count + 1)
            return known.replay_count + 1
