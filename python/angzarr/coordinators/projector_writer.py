"""The one writer of a read model: what waits shares a transaction (PROJ-4)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from angzarr.coordinators.options import ProjectorOptions
from angzarr.errors import StoreClosed, StoreUnavailable
from angzarr.ports.read_store import ReadModel, Unit

T = TypeVar("T")
Work = Callable[[Unit[object]], Awaitable[T]]
Finished = Callable[[], Awaitable[int | None]]


class _Job(Generic[T]):
    __slots__ = ("future", "work")

    def __init__(self, work: Work[T], future: asyncio.Future[T]) -> None:
        self.work = work
        self.future = future


class Writer:
    """Runs work in transactions of a read model, in the order of asking.

    Work that waits while a transaction runs shares the next one, up to the batch's bounds. If one
    of them fails, all of it is rolled back, and each is done once more in a transaction of its own,
    so that only those that fail do. finished: the log position up to which everything is done and
    committed, None where nobody knows; it is copied into the read model now and then. replaced:
    called when the read model is found to be another one than before, which may lack some of that.
    """

    def __init__(
        self,
        model: ReadModel[object],
        options: ProjectorOptions,
        finished: Finished,
        replaced: Callable[[], None],
    ) -> None:
        self._model = model
        self._options = options
        self._finished = finished
        self._replaced = replaced
        self._generation: str | None = None
        self._jobs: deque[_Job[object]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._noted_at = float("-inf")

    async def adopt(self) -> None:
        """Take the read model as it is now for the one that holds everything that is finished."""
        async with self._model.transaction() as unit:
            self._generation = await unit.generation()

    def suspend(self) -> None:
        """Copy no cursor until `adopt`: the consumer's is about to be that of other rows."""
        self._generation = None

    async def run(self, work: Work[T]) -> T:
        """What `work` returns, when the transaction that it ran in is committed.

        Raises what it raises, StoreUnavailable if the read model can't be written, StoreClosed.
        A caller that goes away before it began undoes it.
        """
        if self._is_closed:
            raise StoreClosed("read model")
        loop = asyncio.get_running_loop()
        job: _Job[T] = _Job(work, loop.create_future())
        self._jobs.append(cast("_Job[object]", job))  # its result goes to this caller alone
        if self._task is None:
            self._task = loop.create_task(self._write())
        return await job.future

    async def close(self) -> None:
        """Finish what was asked for, note the cursor, refuse the rest. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        position = await self._finished()
        async with self._model.transaction() as unit:
            await self._note(unit, position)

    async def _write(self) -> None:
        try:
            while self._jobs:
                count = min(len(self._jobs), self._options.batch_books)
                jobs = [self._jobs.popleft() for _ in range(count)]
                await self._commit([job for job in jobs if not job.future.done()])
                await asyncio.sleep(0)  # those who were answered ask for more, and share the next
        finally:
            self._task = None

    async def _commit(self, jobs: list[_Job[object]]) -> None:
        if not jobs:
            return
        results: list[object] = []
        until = time.perf_counter() + self._options.batch_s
        try:
            position = await self._position_to_note()
            async with self._model.transaction() as unit:
                for job in jobs:
                    results.append(None if job.future.done() else await job.work(unit))
                    if time.perf_counter() > until:
                        break
                await self._note(unit, position)
        except Exception as error:
            if len(jobs) == 1 or isinstance(error, StoreUnavailable):
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(error)
                return
            for job in jobs:
                await self._commit([job])
            return
        for job, result in zip(jobs, results, strict=False):
            if not job.future.done():
                job.future.set_result(result)
        self._jobs.extendleft(reversed(jobs[len(results) :]))

    async def _position_to_note(self) -> int | None:
        """The cursor, if it is time to copy it. Asked before the transaction: what is finished now
        is committed, so it is in the read model, whatever a crash takes of the newest commits.
        """
        now = time.monotonic()
        if now < self._noted_at + self._options.cursor_s:
            return None
        self._noted_at = now
        return await self._finished()

    async def _note(self, unit: Unit[object], position: int | None) -> None:
        if position is None or self._generation is None:
            return
        if await unit.generation() != self._generation:
            self._replaced()  # what is finished is in the one before
            return
        known = await unit.cursor()
        if known is None or known < position:
            await unit.put_cursor(position)
