"""Obligations and dead letters on records that others may write at any moment."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

import msgspec
import pytest

from angzarr.ports.event_store import Dropped, Obligation
from angzarr.stores._records import (
    ANYWAY,
    DELETE,
    DUE,
    OBLIGATIONS,
    ONLY_IF,
    PUT_NEW,
    RecordDeadLetters,
    RecordObligations,
    RecordOp,
)
from angzarr.testing.clock import ManualClock


class DictRecords:
    """Records in dictionaries. meanwhile: what others write just before the next writes."""

    def __init__(self) -> None:
        self.spaces: dict[str, dict[bytes, bytes]] = {}
        self.meanwhile: list[Sequence[RecordOp]] = []

    def get(self, space: str, key: bytes) -> bytes | None:
        return self.spaces.get(space, {}).get(key)

    def scan(
        self, space: str, start: bytes | None, limit: int, *, is_reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        rows = sorted(self.spaces.get(space, {}).items())
        at = len(rows) if start is None else bisect_left(rows, (start, b""))
        return rows[:at][::-1][:limit] if is_reverse else rows[at:][:limit]

    async def write(self, ops: Sequence[RecordOp]) -> bool:
        await asyncio.sleep(0)  # as a store does
        if self.meanwhile:
            self.apply(self.meanwhile.pop(0))
        return self.apply(ops)

    def apply(self, ops: Sequence[RecordOp]) -> bool:
        is_met = are_all_met = True
        for op, space, key, value in ops:
            records = self.spaces.setdefault(space, {})
            if op == ANYWAY:
                is_met = True
            elif op == ONLY_IF:
                is_met = records.get(key, b"") == value
                are_all_met = are_all_met and is_met
            elif is_met and op == DELETE:
                records.pop(key, None)
            elif is_met and (op != PUT_NEW or key not in records):
                records[key] = value
        return are_all_met


@pytest.fixture
def records() -> DictRecords:
    return DictRecords()


def appended(records: DictRecords, *changes: Obligation | Dropped) -> None:
    """What an append does to obligations; it knows nothing of leases."""
    records.apply(RecordObligations(records).append_ops(changes))


def timer(due_ns: int, payload: bytes = b"") -> Obligation:
    return Obligation("duty", "kind", payload, due_ns, is_replacing=True)


@pytest.mark.spec("STO-23")
async def test_a_second_place_of_an_obligation_is_removed(records: DictRecords) -> None:
    """Two appends that give one id different times leave two places; only the first counts."""
    appended(records, Obligation("duty", "kind", b"", due_ns=9))
    appended(records, Obligation("duty", "kind", b"", due_ns=1))
    obligations = RecordObligations(records)

    assert await obligations.due(5) == []
    assert [duty.due_ns for duty in await obligations.due(9)] == [9]
    assert len(records.spaces[DUE]) == 1


@pytest.mark.spec("STO-23")
async def test_the_place_of_one_that_comes_back_meanwhile_is_kept(records: DictRecords) -> None:
    """A place without an obligation was removed even if that had just been written."""
    obligations = RecordObligations(records)
    duty = Obligation("duty", "kind", b"", due_ns=1)
    appended(records, duty)
    records.apply([(DELETE, OBLIGATIONS, b"duty", b"")])
    records.meanwhile = [obligations.append_ops([duty])]

    assert await obligations.due(5) == []
    assert await obligations.due(5) == [duty]


@pytest.mark.spec("STO-23")
async def test_more_leased_ones_than_one_scan_hide_none(records: DictRecords) -> None:
    obligations = RecordObligations(records)
    for number in range(600):
        appended(records, Obligation(f"{number:03}", "kind", b"", due_ns=1))
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


@pytest.mark.spec("STO-23", "TIMER-2")
async def test_a_replacement_that_comes_while_the_old_one_is_closed_stays(
    records: DictRecords,
) -> None:
    """An append writes between the look at the old one and its removal."""
    obligations = RecordObligations(records)
    await obligations.put(timer(1))
    [seen] = await obligations.due(1)
    records.meanwhile = [obligations.append_ops([timer(7)])]

    await obligations.close("duty", seen=seen)

    assert await obligations.due(9) == [timer(7)]


@pytest.mark.spec("STO-23", "TIMER-2")
async def test_a_replacement_that_comes_while_another_is_put_leaves_one(
    records: DictRecords,
) -> None:
    obligations = RecordObligations(records)
    await obligations.put(timer(1))
    records.meanwhile = [obligations.append_ops([timer(7)])]

    await obligations.put(timer(5))

    assert await obligations.due(9, lease_s=0) == [timer(5)]
    assert len(records.spaces[DUE]) == 1


@pytest.mark.spec("STO-23", "TIMER-2")
async def test_places_that_appends_left_behind_are_removed_in_time(records: DictRecords) -> None:
    """Both saw the first one; the place of the one that was in between stays until it is due."""
    obligations = RecordObligations(records)
    await obligations.put(timer(1))
    late = obligations.append_ops([timer(7)])
    appended(records, timer(5))
    records.apply(late)

    assert len(records.spaces[DUE]) == 2
    assert await obligations.due(6) == []
    assert await obligations.due(9) == [timer(7)]
    assert len(records.spaces[DUE]) == 1


@pytest.mark.spec("STO-23")
async def test_a_lease_ends_with_the_obligation_that_was_leased(records: DictRecords) -> None:
    obligations = RecordObligations(records)
    for number in range(3):
        await obligations.put(timer(number))
        await obligations.due(number)
    await obligations.close("duty")

    assert not obligations._leases


@pytest.mark.spec("STO-23")
async def test_obligations_of_before_is_replacing_can_be_closed(records: DictRecords) -> None:
    """What an older release wrote has fewer fields, and is closed by what it is, not as it would
    be written now."""
    obligations = RecordObligations(records)
    old = {"id": "duty", "kind": "kind", "payload": b"", "due_ns": 1, "attempts": 0}
    place = (1).to_bytes(8, "big") + b"duty"
    records.apply(
        [
            (PUT_NEW, OBLIGATIONS, b"duty", msgspec.msgpack.encode({**old, "last_error": ""})),
            (PUT_NEW, DUE, place, b""),
        ]
    )
    [seen] = await obligations.due(1)

    await obligations.close("duty", seen=seen)

    assert not any(records.spaces.values())


@pytest.mark.spec("STO-24")
async def test_one_of_two_who_delete_a_letter_is_told_that_it_was_there(
    records: DictRecords,
) -> None:
    dead_letters = RecordDeadLetters(records, ManualClock())
    letter_id = await dead_letters.put(b"letter")

    told = await asyncio.gather(*(dead_letters.delete(letter_id) for _ in range(2)))

    assert sorted(told) == [False, True]


@pytest.mark.spec("STO-24")
async def test_dead_letter_ids_ascend_when_the_clock_goes_back(records: DictRecords) -> None:
    clock = ManualClock()
    dead_letters = RecordDeadLetters(records, clock)
    first = await dead_letters.put(b"")

    clock.set(clock.now_ns() - 10**9)
    second = await dead_letters.put(b"")

    assert first < second
