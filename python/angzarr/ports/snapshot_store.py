"""The snapshot store port (STO-20, SNAP-6, SNAP-8)."""

from __future__ import annotations

from typing import Protocol

from angzarr.cover import Cover
from angzarr.ports.event_store import SnapshotPolicy


class SnapshotStore(Protocol):
    """Encoded Snapshot messages per (domain, edition, root); edition-exact."""

    async def get(self, cover: Cover) -> bytes | None:
        """The snapshot with the highest sequence, as stored."""
        ...

    async def get_at(self, cover: Cover, sequence: int) -> bytes | None:
        """The one with the highest sequence ≤ `sequence`."""
        ...

    async def put(
        self, cover: Cover, snapshot: bytes, policy: SnapshotPolicy = SnapshotPolicy()
    ) -> None:
        """Store, replacing one at the same sequence, and remove what retention no longer keeps, in
        one step.

        SNAP-6: of the snapshots *below* the one put, TRANSIENT ones go; DEFAULT ones go that are
        not among the newest `keep_last` of all; PERSIST ones stay. The put one is then subject to
        the same rule if newer ones exist. Any number of retention of the wire that is unknown
        counts as DEFAULT. max_age_s: non-PERSIST ones stored longer ago by the store's clock go
        too, the newest excepted. Raises InvalidInput when it does not parse, TooLarge over
        max_append_bytes + 64 KiB.
        """
        ...

    async def delete_all(self, domain: str, edition: str | None = None) -> int:
        """Remove the snapshots of all streams of the domain, on exactly this edition, on all of
        them for None; how many there were. In one step for each edition.
        """
        ...

    async def delete(self, cover: Cover) -> int:
        """Remove all of the stream's snapshots; how many there were."""
        ...
