"""RocksDB keeps every contract."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from angzarr.testing.contracts.dead_letters import DeadLetterContract
from angzarr.testing.contracts.declared import DeclaredEditionContract
from angzarr.testing.contracts.events import EventStoreContract
from angzarr.testing.contracts.lengths import LengthContract
from angzarr.testing.contracts.nested import NestedEditionContract
from angzarr.testing.contracts.obligations import ObligationStoreContract
from angzarr.testing.contracts.positions import PositionStoreContract
from angzarr.testing.contracts.scan import ScanContract
from angzarr.testing.contracts.snapshots import SnapshotStoreContract

MEMORY_DISK = Path("/dev/shm")
"""Opening a store flushes files several times; hundreds of stores need no real disk for that."""


class RocksPlace:
    """An empty directory for each test."""

    @pytest.fixture
    def place(self) -> Iterator[str]:
        where = MEMORY_DISK if MEMORY_DISK.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="angzarr-", dir=where) as path:
            yield f"rocksdb://{path}/store"


class TestEvents(RocksPlace, EventStoreContract):
    pass


class TestSnapshots(RocksPlace, SnapshotStoreContract):
    pass


class TestPositions(RocksPlace, PositionStoreContract):
    pass


class TestObligations(RocksPlace, ObligationStoreContract):
    pass


class TestDeadLetters(RocksPlace, DeadLetterContract):
    pass


class TestDeclaredEditions(RocksPlace, DeclaredEditionContract):
    pass


class TestNestedEditions(RocksPlace, NestedEditionContract):
    pass


class TestLengths(RocksPlace, LengthContract):
    pass


class TestScans(RocksPlace, ScanContract):
    pass
