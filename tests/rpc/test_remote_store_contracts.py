"""The store of another process keeps every contract that the store there keeps (DEP-11)."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from angzarr.sync_bridge import LoopThread
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts import (
    DeadLetterContract,
    DeclaredEditionContract,
    EventStoreContract,
    LengthContract,
    NestedEditionContract,
    ObligationStoreContract,
    Opener,
    PositionStoreContract,
    ScanContract,
    SnapshotStoreContract,
)

from .served_stores import loop_thread, open_served

MEMORY_DISK = Path("/dev/shm")
"""Opening a store flushes files several times; hundreds of stores need no real disk for that."""


@pytest.fixture(scope="module")
def thread() -> Iterator[LoopThread]:
    with loop_thread() as thread:
        yield thread


class Served:
    """A server for each test, all of them on one thread."""

    @pytest.fixture
    async def opener(
        self, thread: LoopThread, place: str, clock: ManualClock
    ) -> AsyncIterator[Opener]:
        is_durable = not place.startswith("memory://")
        opener = Opener(partial(open_served, thread, place), clock, is_durable=is_durable)
        yield opener
        await opener.close()


class ServedMemory(Served):
    @pytest.fixture
    def place(self) -> str:
        return "memory://"


class ServedRocks(Served):
    @pytest.fixture
    def place(self) -> Iterator[str]:
        where = MEMORY_DISK if MEMORY_DISK.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="angzarr-", dir=where) as path:
            yield f"rocksdb://{path}/store"


class TestEvents(ServedMemory, EventStoreContract): ...


class TestDeclaredEditions(ServedMemory, DeclaredEditionContract): ...


class TestNestedEditions(ServedMemory, NestedEditionContract): ...


class TestLengths(ServedMemory, LengthContract): ...


class TestScans(ServedMemory, ScanContract): ...


class TestSnapshots(ServedMemory, SnapshotStoreContract): ...


class TestPositions(ServedMemory, PositionStoreContract): ...


class TestObligations(ServedMemory, ObligationStoreContract): ...


class TestDeadLetters(ServedMemory, DeadLetterContract): ...


class TestRocksEvents(ServedRocks, EventStoreContract): ...


class TestRocksLengths(ServedRocks, LengthContract): ...


class TestRocksScans(ServedRocks, ScanContract): ...


class TestRocksSnapshots(ServedRocks, SnapshotStoreContract): ...


class TestRocksPositions(ServedRocks, PositionStoreContract): ...


class TestRocksObligations(ServedRocks, ObligationStoreContract): ...


class TestRocksDeadLetters(ServedRocks, DeadLetterContract): ...


class TestRocksDeclaredEditions(ServedRocks, DeclaredEditionContract): ...


class TestRocksNestedEditions(ServedRocks, NestedEditionContract): ...
