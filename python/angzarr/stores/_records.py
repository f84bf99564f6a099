"""Obligations and dead letters on named durable records, for backends that keep such records."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, Protocol

import msgspec

from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetter
from angzarr.ports.event_store import Obligation
from angzarr.stores._pages import NS_PER_S

PUT, PUT_NEW, DELETE = range(3)
"""Store; store unless the key exists; remove."""
RecordOp = tuple[int, str, bytes, bytes]
"""One of the above, space, key, value (ignored by DELETE)."""

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

    async def write(self, ops: Sequence[RecordOp]) -> None:
        """All of `ops`, or none."""
        ...


def obligation_ops(obligation: Obligation) -> list[RecordOp]:
    """What stores an obligation unless its id is known.

    Its place in the order is written even then; `due` removes it when it finds that it is not the
    obligation's own.
    """
    key = obligation.id.encode()
    return [(PUT_NEW, OBLIGATIONS, key, _encode(obligation)), (PUT, DUE, _due_key(obligation), b"")]


class RecordObligations:
    """The obligation store.

    Leases are kept in memory: one process owns the records, and they end with it.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._mutex = KeyedMutex()
        self._lock = threading.Lock()
        self._leases: dict[str, int] = {}

    async def put(self, obligation: Obligation) -> None:
        async with self._mutex.hold(obligation.id):
            if self._read(obligation.id) is None:
                await self._records.write(obligation_ops(obligation))

    async def due(
        self,
        now_ns: int,
        *,
        limit: int = 64,
        lease_s: float = 30.0,
        kinds: Collection[str] | None = None,
    ) -> list[Obligation]:
        with self._lock:
            found, misplaced = self._look(now_ns, limit, kinds)
            until_ns = now_ns + int(lease_s * NS_PER_S)
            self._leases.update((obligation.id, until_ns) for obligation in found)
        for key in misplaced:
            await self._remove_misplaced(key)
        return found

    async def next_due(self, *, kinds: Collection[str] | None = None) -> int | None:
        earliest: int | None = None
        with self._lock:
            for key in self._places():
                due_ns = int.from_bytes(key[:DUE_BYTES], "big")
                if earliest is not None and due_ns >= earliest:
                    break
                obligation_id = key[DUE_BYTES:].decode()
                obligation = self._read(obligation_id)
                if obligation is None or _due_key(obligation) != key:
                    continue
                if kinds is None or obligation.kind in kinds:
                    free_ns = max(obligation.due_ns, self._leases.get(obligation_id, 0))
                    earliest = free_ns if earliest is None else min(free_ns, earliest)
        return earliest

    async def renew(self, obligation_id: str, until_ns: int) -> None:
        is_open = self._read(obligation_id) is not None
        with self._lock:
            if is_open and obligation_id in self._leases:
                self._leases[obligation_id] = max(self._leases[obligation_id], until_ns)

    async def retry(
        self,
        obligation_id: str,
        due_ns: int,
        error: str,
        *,
        given: Obligation | None = None,
        is_counted: bool = True,
    ) -> None:
        async with self._mutex.hold(obligation_id):
            known = self._read(obligation_id)
            if known is None:
                return
            if given is None or known.is_same(given):
                count = known.attempts + is_counted
                again = replace(known, due_ns=due_ns, attempts=count, last_error=error)
                await self._records.write(
                    [
                        (DELETE, DUE, _due_key(known), b""),
                        (PUT, OBLIGATIONS, obligation_id.encode(), _encode(again)),
                        (PUT, DUE, _due_key(again), b""),
                    ]
                )
            self._end_lease(obligation_id)

    async def close(self, obligation_id: str, *, given: Obligation | None = None) -> None:
        async with self._mutex.hold(obligation_id):
            known = self._read(obligation_id)
            if known is None:
                return
            if given is None or known.is_same(given):
                await self._records.write(
                    [
                        (DELETE, OBLIGATIONS, obligation_id.encode(), b""),
                        (DELETE, DUE, _due_key(known), b""),
                    ]
                )
            self._end_lease(obligation_id)

    def _look(
        self, now_ns: int, limit: int, kinds: Collection[str] | None
    ) -> tuple[list[Obligation], list[bytes]]:
        """Up to `limit` free obligations by (due, id), and the keys of misplaced entries."""
        found: list[Obligation] = []
        misplaced: list[bytes] = []
        for key in self._places():
            if len(found) >= limit or int.from_bytes(key[:DUE_BYTES], "big") > now_ns:
                break
            obligation_id = key[DUE_BYTES:].decode()
            if self._leases.get(obligation_id, now_ns) > now_ns:
                continue
            obligation = self._read(obligation_id)
            if obligation is None or _due_key(obligation) != key:
                misplaced.append(key)
            elif obligation.due_ns <= now_ns and (kinds is None or obligation.kind in kinds):
                found.append(obligation)
        return found, misplaced

    def _places(self) -> Iterator[bytes]:
        """Keys of the order by due time, ascending."""
        start = b""
        while True:
            rows = self._records.scan(DUE, start, SCAN_COUNT)
            for key, _ in rows:
                yield key
            if len(rows) < SCAN_COUNT:
                return
            start = rows[-1][0] + b"\0"

    async def _remove_misplaced(self, key: bytes) -> None:
        obligation_id = key[DUE_BYTES:].decode()
        async with self._mutex.hold(obligation_id):
            obligation = self._read(obligation_id)
            if obligation is None or _due_key(obligation) != key:
                await self._records.write([(DELETE, DUE, key, b"")])

    def _read(self, obligation_id: str) -> Obligation | None:
        value = self._records.get(OBLIGATIONS, obligation_id.encode())
        return None if value is None else _decode_obligation(value)

    def _end_lease(self, obligation_id: str) -> None:
        with self._lock:
            self._leases.pop(obligation_id, None)


class RecordDeadLetters:
    """The dead letter queue."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._mutex = KeyedMutex()
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
        async with self._mutex.hold(letter_id):
            is_there = self._records.get(DEAD_LETTERS, letter_id.encode()) is not None
            if is_there:
                await self._records.write([(DELETE, DEAD_LETTERS, letter_id.encode(), b"")])
            return is_there

    def _next_id(self) -> str:
        """Now, or just after the newest id where the clock stands still or went back."""
        with self._lock:
            if self._newest_ns is None:
                newest = self._records.scan(DEAD_LETTERS, None, 1, is_reverse=True)
                self._newest_ns = int(newest[0][0], 16) if newest else 0
            self._newest_ns = max(self._clock.now_ns(), self._newest_ns + 1)
            return f"{self._newest_ns:016x}"


class KeyedMutex:
    """Lets one coroutine at a time hold a key, whichever loops and threads they run in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Future[None]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncGenerator[None]:
        """Wait for the key, hold it, and give it back."""
        mine: Future[None] = Future()
        mine.set_running_or_notify_cancel()  # from now on a cancelled waiter can't cancel it
        while (holder := self._claim(key, mine)) is not mine:
            await asyncio.wait([asyncio.wrap_future(holder)])
        try:
            yield
        finally:
            with self._lock:
                del self._held[key]
            mine.set_result(None)

    def _claim(self, key: str, mine: Future[None]) -> Future[None]:
        with self._lock:
            return self._held.setdefault(key, mine)


def _due_key(obligation: Obligation) -> bytes:
    due_ns = min(max(obligation.due_ns, 0), DUE_MAX)
    return due_ns.to_bytes(DUE_BYTES, "big") + obligation.id.encode()
