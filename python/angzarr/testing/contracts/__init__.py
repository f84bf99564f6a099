"""Contract suites that every store adapter passes; yours too.

A test module of an adapter subclasses them and says where its store is:

    class TestEvents(EventStoreContract):
        @pytest.fixture
        def place(self, tmp_path):
            return f"rocksdb://{tmp_path}/store"

An adapter outside the registry overrides the `opener` fixture instead. The marker `spec` names
the rules that a test checks; register it, and run pytest-asyncio in auto mode.

Not here, because no port leads there: SequenceExhausted, for which an adapter's own tests seed a
stream at its last sequence, failures injected under the store, and killed processes (STO-47).
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{subject}"
        for subject in (
            "append",
            "base",
            "branch_bases",
            "cascades",
            "correlation",
            "dead_letters",
            "declared",
            "deletion",
            "durability",
            "edition_limits",
            "edition_uses",
            "editions",
            "lengths",
            "nested",
            "nested_bases",
            "nested_levels",
            "scan",
            "scan_fields",
            "idempotency",
            "log",
            "reaping",
            "release",
            "replacing",
            "obligations",
            "positions",
            "read",
            "read_store",
            "snapshots",
        )
    )
)

from angzarr.testing.contracts.base import Opener, StoreContract  # noqa: E402
from angzarr.testing.contracts.dead_letters import DeadLetterContract  # noqa: E402
from angzarr.testing.contracts.declared import DeclaredEditionContract  # noqa: E402
from angzarr.testing.contracts.events import EventStoreContract  # noqa: E402
from angzarr.testing.contracts.lengths import LengthContract  # noqa: E402
from angzarr.testing.contracts.nested import NestedEditionContract  # noqa: E402
from angzarr.testing.contracts.obligations import ObligationStoreContract  # noqa: E402
from angzarr.testing.contracts.positions import PositionStoreContract  # noqa: E402
from angzarr.testing.contracts.read_store import ReadStoreContract  # noqa: E402
from angzarr.testing.contracts.scan import ScanContract  # noqa: E402
from angzarr.testing.contracts.snapshots import SnapshotStoreContract  # noqa: E402

__all__ = [
    "DeadLetterContract",
    "DeclaredEditionContract",
    "EventStoreContract",
    "LengthContract",
    "NestedEditionContract",
    "ObligationStoreContract",
    "Opener",
    "PositionStoreContract",
    "ReadStoreContract",
    "ScanContract",
    "SnapshotStoreContract",
    "StoreContract",
]
