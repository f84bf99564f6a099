"""The obligation store port: duties that survive restarts (STO-23)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from angzarr.ports.event_store import Obligation


class ObligationStore(Protocol):
    """Obligations by id; `due` leases what it returns so that replicas share the work.

    An obligation can be replaced while somebody works on it. Who gives `seen`, the obligation as
    `due` returned it, changes nothing if another one, or a later try, is in its place by then.
    """

    async def put(self, obligation: Obligation) -> None:
        """Store unless the id is known (idempotent); with `is_replacing` in place of that one,
        whose lease ends unless they are equal."""
        ...

    async def get(self, obligation_id: str) -> Obligation | None:
        """The open one with this id, leased or not."""
        ...

    async def due(
        self,
        now_ns: int,
        *,
        limit: int = 64,
        lease_s: float = 30.0,
        kinds: Collection[str] | None = None,
    ) -> list[Obligation]:
        """Open ones with due_ns ≤ now_ns that nobody has leased past now_ns, by (due_ns, id);
        leased for lease_s. kinds: only these, None is all."""
        ...

    async def next_due(self, *, kinds: Collection[str] | None = None) -> int | None:
        """The earliest time at which `due` would return something: the due_ns of an open one, or
        the end of its lease where that is later. None without any open one."""
        ...

    async def renew(self, obligation_id: str, until_ns: int) -> None:
        """Make the lease on what `due` returned last until until_ns; never shorter, nothing for
        what is not leased."""
        ...

    async def retry(
        self,
        obligation_id: str,
        due_ns: int,
        error: str,
        *,
        seen: Obligation | None = None,
        is_counted: bool = True,
    ) -> None:
        """Count an attempt, keep its error, make it due again at due_ns and end its lease. Unknown
        ids are ignored. is_counted: False for one that was not tried, it was too early."""
        ...

    async def close(self, obligation_id: str, *, seen: Obligation | None = None) -> None:
        """Fulfilled or given up: remove it. Unknown ids are ignored."""
        ...
