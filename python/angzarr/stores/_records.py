"""Obligations and dead letters on named durable records, for backends that keep such records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

import msgspec

from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetter
from angzarr.ports.event_store import Dropped, Obligation
from angzarr.stores._pages import NS_PER_S

PUT, PUT_NEW, DELETE, ONLY_IF, ANYWAY = range(5)
"""Store; store unless the key exists; remove; what follows, up to the next one of these two, is
done only if the record has the value (b"": only if there is none); what follows is done anyway."""
RecordOp = tuple[int, str, bytes, bytes]
"""One of the above, space, key, value (ignored by DELETE; ANYWAY ignores all)."""

OBLIGATIONS: Final = "obligation"
"""id → Obligation."""
DUE: Final = "obligation_due"
"""due_ns (8 bytes, big-endian) · id → nothing: the obligations in the order that they are due."""
DEAD_LETTERS: Final = "dead_letter"
"""id → DeadLetter; ids are ascending nanoseconds in hex."""

DUE_BYTES: Final = 8
DUE_MAX: Final = 2**63 - 1
SCAN_COUNT: Final = 256
"""Records read at a time while looking for due obligations."""

_encode = msgspec.msgpack.Encoder().encode
_decode_obligation = msgspec.msgpack.Decoder(Obligation).decode
_decode_letter = msgspec.msgpack.Decoder(DeadLetter).decode


class Records(Protocol):
    """Named durable values in spaces, ordered by key.

    Reads are immediate, writes durable on return.
    """

    def get(self, space: str, key: bytes) -> bytes | None:
        """The value under a key."""
        ...

    def scan(
        self, space: str, start: bytes | None, limit: int, *, is_reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """(key, value) from `start` on; in reverse those below `start`, descending."""
        ...

    async def write(self, ops: Sequence[RecordOp]) -> bool:
        """All of `ops` in one step, or none; whether all conditions were met."""
        ...


class RecordObligations:
    """The obligation store.

    Between a read and the write that follows from it others may write, appends above all. So a
    write says on which record it stands, and is made anew if that has changed meanwhile.

    Leases are kept in memory: one process owns the records, and they end with it. What is leased is
    an obligation as it was then; another one that came into its place is not.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = threading.Lock()
        self._leases: dict[str, tuple[Obligation, int]] = {}

    async def put(self, obligation: Obligation) -> None:
        def stored(known: Obligation | None) -> Obligation:
            return obligation if known is None or obligation.is_replacing else known

        await self._change(obligation.id, stored)

    async def get(self, obligation_id: str) -> Obligation | None:
        value = self._records.get(OBLIGATIONS, obligation_id.encode())
        return None if value is None else _decode_obligation(value)

    async def due(
        self,
        now_ns: int,
        *,
        limit: int = 64,
        lease_s: float = 30.0,
        kinds: Collection[str] | None = None,
    ) -> list[Obligation]:
        with self._lock:
            found, removals = self._look(now_ns, limit, kinds)
            until_ns = now_ns + int(lease_s * NS_PER_S)
            self._leases.update((item.id, (item, until_ns)) for item in found)
        if removals:
            await self._records.write(removals)
        return found

    async def next_due(self, *, kinds: Collection[str] | None = None) -> int | None:
        earliest: int | None = None
        with self._lock:
            for place in self._places():
                due_ns = int.from_bytes(place[:DUE_BYTES], "big")
                if earliest is not None and due_ns >= earliest:
                    break
                value = self._records.get(OBLIGATIONS, place[DUE_BYTES:])
                obligation = None if value is None else _decode_obligation(value)
                if obligation is None or _due_key(obligation) != place:
                    continue
                if kinds is None or obligation.kind in kinds:
                    free_ns = max(obligation.due_ns, self._leased_until(obligation))
                    earliest = free_ns if earliest is None else min(free_ns, earliest)
        return earliest

    async def renew(self, obligation_id: str, until_ns: int) -> None:
        self._records.get(OBLIGATIONS, obligation_id.encode())  # which refuses when it is closed
        with self._lock:
            if obligation_id in self._leases:
                leased, old_ns = self._leases[obligation_id]
                self._leases[obligation_id] = leased, max(old_ns, until_ns)

    async def retry(
        self,
        obligation_id: str,
        due_ns: int,
        error: str,
        *,
        seen: Obligation | None = None,
        is_counted: bool = True,
    ) -> None:
        def tried(known: Obligation | None) -> Obligation | None:
            if known is None or seen not in (None, known):
                return known
            count = known.attempts + is_counted
            return replace(known, due_ns=due_ns, attempts=count, last_error=error)

        await self._change(obligation_id, tried)

    async def close(self, obligation_id: str, *, seen: Obligation | None = None) -> None:
        await self._change(obligation_id, lambda known: None if seen in (None, known) else known)

    def append_ops(self, changes: Iterable[Obligation | Dropped]) -> list[RecordOp]:
        """What an append does to obligations, in order; `end_leases` is for after it.

        Others may write before it: that may leave a place in the order behind, which `due` removes.
        """
        ops: list[RecordOp] = []
        for change in changes:
            key = change.id.encode()
            if isinstance(change, Obligation) and not change.is_replacing:
                place = (PUT, DUE, _due_key(change), b"")
                ops += [(PUT_NEW, OBLIGATIONS, key, _encode(change)), place]
                continue
            value = self._records.get(OBLIGATIONS, key)
            if value is not None:
                known = _decode_obligation(value)
                ops += [
                    (ONLY_IF, OBLIGATIONS, key, value),
                    (DELETE, DUE, _due_key(known), b""),
                    (ANYWAY, "", b"", b""),
                ]
            ops += _ops_to_have(change.id, None if isinstance(change, Dropped) else change)
        return ops

    def end_leases(self, changes: Iterable[Obligation | Dropped]) -> None:
        """End those of what an append has dropped, or replaced with something else."""
        for change in changes:
            if isinstance(change, Dropped) or change.is_replacing:
                self._end_lease(change.id, None if isinstance(change, Dropped) else change)

    async def _change(
        self, obligation_id: str, decide: Callable[[Obligation | None], Obligation | None]
    ) -> None:
        """Have `decide(what is there)` there; None is none."""
        key = obligation_id.encode()
        while True:
            value = self._records.get(OBLIGATIONS, key)
            known = None if value is None else _decode_obligation(value)
            wanted = decide(known)
            if wanted == known:
                return
            ops: list[RecordOp] = [(ONLY_IF, OBLIGATIONS, key, value or b"")]
            if known is not None:
                ops.append((DELETE, DUE, _due_key(known), b""))
            if await self._records.write([*ops, *_ops_to_have(obligation_id, wanted)]):
                self._end_lease(obligation_id, wanted)
                return

    def _look(
        self, now_ns: int, limit: int, kinds: Collection[str] | None
    ) -> tuple[list[Obligation], list[RecordOp]]:
        """Up to `limit` free obligations by (due, id), and what removes places that are not
        those of their obligations."""
        found: list[Obligation] = []
        removals: list[RecordOp] = []
        for place in self._places():
            if len(found) >= limit or int.from_bytes(place[:DUE_BYTES], "big") > now_ns:
                break
            key = place[DUE_BYTES:]
            value = self._records.get(OBLIGATIONS, key)
            obligation = None if value is None else _decode_obligation(value)
            if obligation is None or _due_key(obligation) != place:
                condition = (ONLY_IF, OBLIGATIONS, key, value or b"")
                removals += [condition, (DELETE, DUE, place, b"")]
            elif self._is_free(obligation, now_ns) and (kinds is None or obligation.kind in kinds):
                found.append(obligation)
        return found, removals

    def _places(self) -> Iterator[bytes]:
        """Keys of the order in which obligations are due, ascending."""
        start = b""
        while True:
            rows = self._records.scan(DUE, start, SCAN_COUNT)
            for place, _ in rows:
                yield place
            if len(rows) < SCAN_COUNT:
                return
            start = rows[-1][0] + b"\0"

    def _is_free(self, obligation: Obligation, now_ns: int) -> bool:
        return obligation.due_ns <= now_ns and self._leased_until(obligation) <= now_ns

    def _leased_until(self, obligation: Obligation) -> int:
        """The end of the lease on the obligation as it is; 0 without one."""
        leased, until_ns = self._leases.get(obligation.id, (None, 0))
        return until_ns if leased == obligation else 0

    def _end_lease(self, obligation_id: str, now_there: Obligation | None) -> None:
        """Unless somebody has leased already what is there now."""
        with self._lock:
            leased, _ = self._leases.get(obligation_id, (None, 0))
            if now_there is None or leased != now_there:
                self._leases.pop(obligation_id, None)


class RecordDeadLetters:
    """The dead letter queue."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._lock = threading.Lock()
        self._newest_ns: int | None = None

    async def put(self, letter: bytes) -> str:
        letter_id = self._next_id()
        stored = DeadLetter(letter_id, letter, self._clock.now_ns())
        await self._records.write([(PUT, DEAD_LETTERS, letter_id.encode(), _encode(stored))])
        return letter_id

    async def list(self, *, before: str | None = None, limit: int = 50) -> list[DeadLetter]:
        start = None if before is None else before.encode()
        rows = self._records.scan(DEAD_LETTERS, start, limit, is_reverse=True)
        return [_decode_letter(value) for _, value in rows]

    async def get(self, letter_id: str) -> DeadLetter | None:
        value = self._records.get(DEAD_LETTERS, letter_id.encode())
        return None if value is None else _decode_letter(value)

    async def delete(self, letter_id: str) -> bool:
        key = letter_id.encode()
        value = self._records.get(DEAD_LETTERS, key)
        if value is None:
            return False
        # Of those who delete it at once, one is told that it was there.
        return await self._records.write(
            [(ONLY_IF, DEAD_LETTERS, key, value), (DELETE, DEAD_LETTERS, key, b"")]
        )

    async def count_replay(self, letter_id: str) -> int | None:
        key = letter_id.encode()
        while True:
            value = self._records.get(DEAD_LETTERS, key)
            if value is None:
                return None
            known = _decode_letter(value)
            counted = replace(known, replay_count=known.replay_count + 1)
            changes = [
                (ONLY_IF, DEAD_LETTERS, key, value),
                (PUT, DEAD_LETTERS, key, _encode(counted)),
            ]
            if await self._records.write(changes):  # else it was counted or deleted meanwhile
                return counted.replay_count

    def _next_id(self) -> str:
        """Now, or just after the newest id where the clock stands still or went back."""
        with self._lock:
            if self._newest_ns is None:
                newest = self._records.scan(DEAD_LETTERS, None, 1, is_reverse=True)
                self._newest_ns = int(newest[0][0], 16) if newest else 0
            self._newest_ns = max(self._clock.now_ns(), self._newest_ns + 1)
            return f"{self._newest_ns:016x}"


def _ops_to_have(obligation_id: str, obligation: Obligation | None) -> list[RecordOp]:
    """Store it in its place, or remove what has the id; None is none."""
    key = obligation_id.encode()
    if obligation is None:
        return [(DELETE, OBLIGATIONS, key, b"")]
    place = (PUT, DUE, _due_key(obligation), b"")
    return [(PUT, OBLIGATIONS, key, _encode(obligation)), place]


def _due_key(obligation: Obligation) -> bytes:
    due_ns = min(max(obligation.due_ns, 0), DUE_MAX)
    return due_ns.to_bytes(DUE_BYTES, "big") + obligation.id.encode()
