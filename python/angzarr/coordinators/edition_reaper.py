"""Deletes editions whose time to live is over (EDN-24)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import Final

from angzarr.coordinators.counters import EDITIONS_FAILED, EDITIONS_REAPED, Counters
from angzarr.coordinators.edition_deletion import EditionDeletion
from angzarr.coordinators.pipeline import Sleep, real_sleep
from angzarr.cover import MAIN
from angzarr.errors import AngzarrError, EditionInUse, PendingPages, StoreClosed
from angzarr.ports.clock import Clock
from angzarr.ports.edition_store import EditionRecord
from angzarr.ports.stores import Stores

LEASE: Final = "edition-reaper"
"""What the processes of a store decide by which of them looks, as consumers do."""

LEASE_S_MIN: Final = 15.0
"""A pass may take a while, and nobody else begins one meanwhile."""

_log: Final = logging.getLogger("angzarr")


class EditionReaper:
    """Looks for expired editions every `interval_s`; the clock says what is expired.

    holder: what this process is called in the lease. counters: where it counts. sleep: waits, in
    seconds.
    """

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        *,
        interval_s: float,
        holder: str = "",
        counters: Counters | None = None,
        sleep: Sleep = real_sleep,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._interval_s = interval_s
        self._holder = holder or str(uuid.uuid4())
        self._sleep = sleep
        self._deletion = EditionDeletion(stores, clock)
        self._counters = counters or Counters()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; the first look is now."""
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Look no more; a deletion that runs stops half-way, and is gone on with after the next
        start. Idempotent."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        try:
            await self._stores.positions.lease(LEASE, 0, self._holder, 0)
        except AngzarrError as error:
            _log.info("the lease of %s runs out by itself: %s", LEASE, error)

    async def reap(self) -> list[str]:
        """One pass: delete what is expired, children before parents; the names. Nothing while
        another process looks.

        One with pending pages is left for a later pass, and so are those that it is a branch of;
        another failure is logged and counted, and the others are deleted all the same. Raises what
        listing them raises.
        """
        expired = self._expired(await self._stores.editions.list())
        lease_s = max(LEASE_S_MIN, 2 * self._interval_s)
        if not expired or not await self._stores.positions.lease(LEASE, 0, self._holder, lease_s):
            return []
        deleted: list[str] = []
        for record in expired:
            if await self._stores.editions.get(record.name) != record:
                continue  # somebody deleted it, or gave it more time
            try:
                await self._deletion.whole(record.name)
            except (PendingPages, EditionInUse) as error:
                _log.info("an expired edition waits: %s", error)
            except StoreClosed:
                raise
            except AngzarrError as error:
                self._failed(f"edition {record.name}", error)
            else:
                deleted.append(record.name)
        if deleted:
            self._counters.add(EDITIONS_REAPED, len(deleted))
            _log.info("expired editions are deleted: %s", ", ".join(deleted))
        return deleted

    def _expired(self, records: Sequence[EditionRecord]) -> list[EditionRecord]:
        """Those whose time is over, children before parents."""
        now_ns = self._clock.now_ns()
        parents = {record.name: record.parent for record in records}

        def depth(name: str) -> int:
            count = 0
            while name != MAIN and count <= len(parents):
                name = parents.get(name, MAIN)
                count += 1
            return count

        expired = [r for r in records if r.expires_at_ns and r.expires_at_ns <= now_ns]
        return sorted(expired, key=lambda record: -depth(record.name))

    def _failed(self, work: str, error: Exception) -> None:
        self._counters.add(EDITIONS_FAILED)
        bug = None if isinstance(error, AngzarrError) else error
        _log.warning("%s: not deleted, and tried again: %s", work, error, exc_info=bug)

    async def _run(self) -> None:
        while True:
            try:
                await self.reap()
            except StoreClosed:
                return
            except Exception as error:
                self._failed("expired editions", error)
            await self._sleep(self._interval_s)
