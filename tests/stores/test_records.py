"""Obligations on records, and the mutex that orders changes of one id."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Sequence

import pytest

from angzarr.ports.event_store import Obligation
from angzarr.stores._records import (
    DELETE,
    DUE,
    PUT_NEW,
    KeyedMutex,
    RecordDeadLetters,
    RecordObligations,
    RecordOp,
    obligation_ops,
)
from angzarr.testing.clock import ManualClock


class DictRecords:
    """Records in dictionaries."""

    def __init__(self) -> None:
        self.spaces: dict[str, dict[bytes, bytes]] = {}

    def get(self, space: str, key: bytes) -> bytes | None:
        return self.spaces.get(space, {}).get(key)

    def scan(
        self, space: str, start: bytes | None, limit: int, *, is_reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        rows = sorted(self.spaces.get(space, {}).items())
        at = len(rows) if start is None else bisect_left(rows, (start, b""))
        return rows[:at][::-1][:limit] if is_reverse else rows[at:][:limit]

    async def write(self, ops: Sequence[RecordOp]) -> None:
        await asyncio.sleep(0)  # as a store does
        for op, space, key, value in ops:
            records = self.spaces.setdefault(space, {})
            if op == DELETE:
                records.pop(key, None)
            elif op != PUT_NEW or key not in records:
                records[key] = value


@pytest.fixture
def records() -> DictRecords:
    return DictRecords()


@pytest.mark.spec("STO-23")
async def test_a_second_place_of_an_obligation_is_removed(records: DictRecords) -> None:
    """Two appends that give one id different times leave two places; only the first counts."""
    await records.write(obligation_ops(Obligation("duty", "kind", b"", due_ns=9)))
    await records.write(obligation_ops(Obligation("duty", "kind", b"", due_ns=1)))
    obligations = RecordObligations(records)

    assert await obligations.due(5) == []
    assert [duty.due_ns for duty in await obligations.due(9)] == [9]
    assert len(records.spaces[DUE]) == 1


@pytest.mark.spec("STO-23")
async def test_more_leased_ones_than_one_scan_hide_none(records: DictRecords) -> None:
    obligations = RecordObligations(records)
    for number in range(600):
        await records.write(obligation_ops(Obligation(f"{number:03}", "kind", b"", due_ns=1)))
    await obligations.due(1, limit=590, lease_s=30)

    rest = await obligations.due(1, limit=100)

    assert [duty.id for duty in rest] == [f"{number:03}" for number in range(590, 600)]


@pytest.mark.spec("STO-23")
async def test_a_retry_and_a_close_at_once_leave_nothing_half(records: DictRecords) -> None:
    obligations = RecordObligations(records)
    await obligations.put(Obligation("duty", "kind", b"", due_ns=1))

    await asyncio.gather(obligations.retry("duty", 2, "late"), obligations.close("duty"))

    assert await obligations.due(10) == []
    assert not any(records.spaces.values())


@pytest.mark.spec("STO-24")
async def test_dead_letter_ids_ascend_when_the_clock_goes_back(records: DictRecords) -> None:
    clock = ManualClock()
    dead_letters = RecordDeadLetters(records, clock)
    first = await dead_letters.put(b"")

    clock.set(clock.now_ns() - 10**9)
    second = await dead_letters.put(b"")

    assert first < second


async def test_one_key_is_held_by_one_at_a_time() -> None:
    mutex, inside, most = KeyedMutex(), 0, 0

    async def hold() -> None:
        nonlocal inside, most
        async with mutex.hold("key"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(hold() for _ in range(20)))

    assert most == 1


async def test_different_keys_do_not_wait_for_each_other() -> None:
    mutex = KeyedMutex()

    async with mutex.hold("a"), mutex.hold("b"):
        pass


async def test_a_cancelled_waiter_leaves_the_key_to_the_others() -> None:
    mutex, done = KeyedMutex(), list[str]()

    async def hold(name: str) -> None:
        async with mutex.hold("key"):
            done.append(name)

    async with mutex.hold("key"):
        waiting = [asyncio.create_task(hold(name)) for name in ("a", "b")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
    await asyncio.wait(waiting)

    assert done == ["b"]


async def test_a_key_is_held_across_loops() -> None:
    mutex, done = KeyedMutex(), list[str]()
    is_started = threading.Event()

    async def hold() -> None:
        is_started.set()
        async with mutex.hold("key"):
            done.append("other loop")

    async with mutex.hold("key"):
        thread = threading.Thread(target=lambda: asyncio.run(hold()))
        thread.start()
        await asyncio.to_thread(is_started.wait)
        done.append("this loop")
    await asyncio.to_thread(thread.join)

    assert done == ["this loop", "other loop"]
