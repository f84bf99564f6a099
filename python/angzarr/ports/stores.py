"""All ports of one backend together, since parts of them share one atomic write (SNAP-4,
STO-13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.edition_store import EditionStore
from angzarr.ports.event_store import EventStore
from angzarr.ports.obligations import ObligationStore
from angzarr.ports.position_store import PositionStore
from angzarr.ports.snapshot_store import SnapshotStore


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a backend says of itself, for doctor and benches.

    url: as opened. is_durable: False when a machine crash may lose a suffix (OPS-14). size_bytes:
    on disk.
    """

    url: str
    is_durable: bool
    format_version: int
    size_bytes: int
    details: dict[str, str]


class Stores(Protocol):
    """An open backend."""

    @property
    def events(self) -> EventStore: ...
    @property
    def snapshots(self) -> SnapshotStore: ...
    @property
    def positions(self) -> PositionStore: ...
    @property
    def obligations(self) -> ObligationStore: ...
    @property
    def dead_letters(self) -> DeadLetterQueue: ...
    @property
    def editions(self) -> EditionStore: ...

    def facts(self) -> StoreFacts:
        """Figures of the backend; cheap."""
        ...

    async def backup(
        self, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Write a consistent copy into the new directory `target` while the store serves.

        progress: called with (bytes done, bytes in all). InvalidInput if the target exists and is
        not empty, or the backend keeps nothing on disk.
        """
        ...

    async def close(self) -> None:
        """Finish accepted appends, then refuse everything with StoreClosed. Idempotent."""
        ...
