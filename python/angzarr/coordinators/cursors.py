"""Cursors are stored a little later, together, so that deliveries don't pay for it (OPS-3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from angzarr.coordinators.delivery import DeliveryOptions
from angzarr.coordinators.follower import persist
from angzarr.coordinators.pipeline import Sleep
from angzarr.coordinators.runs import Run
from angzarr.errors import AngzarrError, StoreClosed

_log = logging.getLogger(__name__)


class Cursors:
    """Stores the cursors of runs that finished something, at most every `store_every_s`, in one go.

    What is stored is finished at that time, so a cursor is never ahead; after a crash what came
    since is delivered again.
    """

    def __init__(self, *, options: DeliveryOptions, sleep: Sleep) -> None:
        self._options = options
        self._sleep = sleep
        self._moved: set[Run] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Store from now on. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                persist("storing cursors", self._step, self._options, self._sleep)
            )

    async def stop(self) -> None:
        """Store no more by itself. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def moved(self, run: Run) -> None:
        """The run has finished something."""
        self._moved.add(run)
        if not self._news.is_set():
            self._news.set()

    async def store(self, run: Run) -> None:
        """Store the run's cursor now, if it has moved. Raises what the store raises."""
        cursor = run.cursor
        if cursor > run.stored:
            await run.place.store(cursor)
            run.stored = max(run.stored, cursor)

    async def store_all(self, runs: Iterable[Run]) -> None:
        """Store those that have moved; what fails is logged, and stored the next time. Raises
        StoreClosed.
        """
        await self._store(list(runs))

    async def _step(self) -> bool:
        await self._news.wait()
        await self._sleep(self._options.store_every_s)
        self._news.clear()
        moved, self._moved = self._moved, set()
        await self._store(list(moved))
        return False

    async def _store(self, runs: list[Run]) -> None:
        results = await asyncio.gather(*map(self.store, runs), return_exceptions=True)
        for run, result in zip(runs, results, strict=True):
            if result is None:
                continue
            if isinstance(result, StoreClosed) or not isinstance(result, AngzarrError):
                raise result
            _log.warning("the cursor of %s was not stored: %s", run.name, result)
            self._moved.add(run)  # with the next that moves
