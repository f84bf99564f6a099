"""The store in memory keeps every contract but durability."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from angzarr.errors import InvalidInput, SequenceConflict, SequenceExhausted, StoreClosed
from angzarr.ports.event_store import SEQUENCE_MAX, Appended, Limits, LogEntry
from angzarr.stores._memory_streams import Stream
from angzarr.stores.memory import MemoryStores, open_stores
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts import (
    DeadLetterContract,
    DeclaredEditionContract,
    EventStoreContract,
    LengthContract,
    NestedEditionContract,
    ObligationStoreContract,
    PositionStoreContract,
    ScanContract,
    SnapshotStoreContract,
)
from angzarr.testing.pages import cover_of, page, pages


class InMemory:
    @pytest.fixture
    def place(self) -> str:
        return "memory://"


class TestEvents(InMemory, EventStoreContract): ...


class TestDeclaredEditions(InMemory, DeclaredEditionContract): ...


class TestNestedEditions(InMemory, NestedEditionContract): ...


class TestLengths(InMemory, LengthContract): ...


class TestScans(InMemory, ScanContract): ...


class TestSnapshots(InMemory, SnapshotStoreContract): ...


class TestPositions(InMemory, PositionStoreContract): ...


class TestObligations(InMemory, ObligationStoreContract): ...


class TestDeadLetters(InMemory, DeadLetterContract): ...


def opened() -> MemoryStores:
    return open_stores("", sync=True, limits=Limits(), clock=ManualClock())


@pytest.mark.spec("STO-61")
async def test_two_stores_share_nothing() -> None:
    one, other = opened(), opened()

    await one.events.append(cover_of(), 0, pages(0, 1))

    assert await other.events.domains() == []


@pytest.mark.spec("STO-61", "STO-10")
def test_threads_with_loops_of_their_own_take_every_sequence_once() -> None:
    stores = opened()
    done: list[Appended] = []

    def write() -> None:
        async def run() -> None:
            for _ in range(20):
                while not await attempt():
                    pass

        async def attempt() -> bool:
            first = await stores.events.next_sequence(cover_of())
            try:
                appended = await stores.events.append(cover_of(), first, pages(first, 1))
            except SequenceConflict:
                return False
            assert isinstance(appended, Appended)
            done.append(appended)
            return True

        asyncio.run(run())

    run_threads([write] * 8)

    assert sorted(appended.first for appended in done) == list(range(160))


@pytest.mark.spec("STO-61", "STO-14")
def test_an_append_in_one_thread_wakes_the_tail_in_another() -> None:
    stores = opened()
    is_waiting = threading.Event()
    found: list[LogEntry] = []

    def wait() -> None:
        async def run() -> None:
            asyncio.get_running_loop().call_soon(is_waiting.set)
            found.extend(await stores.events.tail(0, wait_s=20))

        asyncio.run(run())

    def write() -> None:
        is_waiting.wait()
        asyncio.run(append())

    async def append() -> None:
        await stores.events.append(cover_of(), 0, pages(0, 1))

    run_threads([wait, write])

    assert [entry.position for entry in found] == [1]


@pytest.mark.spec("STO-5")
async def test_closing_ends_a_waiting_tail() -> None:
    stores = opened()
    waiting = asyncio.create_task(stores.events.tail(0, wait_s=20))
    await asyncio.sleep(0)

    await stores.close()

    with pytest.raises(StoreClosed):
        await waiting


@pytest.mark.spec("STO-6", "STO-40")
async def test_the_last_sequence_is_taken_and_none_after_it() -> None:
    stores = opened()
    streams = stores.events._streams.by_key
    streams[cover_of().stream] = Stream(SEQUENCE_MAX)  # 2³² pages take too long

    appended = await stores.events.append(cover_of(), SEQUENCE_MAX, [page(SEQUENCE_MAX)])

    assert appended == Appended(SEQUENCE_MAX, SEQUENCE_MAX)
    with pytest.raises(SequenceExhausted):
        await stores.events.append(cover_of(), SEQUENCE_MAX + 1, [page(0)])


async def test_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        await opened().backup(tmp_path / "copy")


async def test_facts_promise_no_durability() -> None:
    facts = opened().facts()

    assert (facts.is_durable, facts.size_bytes) == (False, 0)


def run_threads(bodies: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
