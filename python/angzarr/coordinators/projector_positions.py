"""Positions of a projector that keeps its rows itself, stored a little later (PROJ-3)."""

from __future__ import annotations

import asyncio
import logging

from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.pipeline import Sleep
from angzarr.cover import Cover
from angzarr.errors import StoreClosed, StoreUnavailable
from angzarr.ports.position_store import PositionStore

_log = logging.getLogger(__name__)

Stream = tuple[str, str, bytes]


class LatePositions:
    """A position store whose puts are gathered; `angzarr.ports.position_store` of one consumer.

    What a crash takes is delivered again: a position that is too low loses nothing. Positions of
    branches are stored at once, so that none outlives the deletion of its branch (PROJ-15).
    """

    def __init__(
        self, positions: PositionStore, consumer: str, options: ProjectorOptions, sleep: Sleep
    ) -> None:
        self._positions = positions
        self._consumer = consumer
        self._options = options
        self._sleep = sleep
        self._late: dict[Stream, tuple[Cover, int]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, cover: Cover) -> int | None:
        """The last sequence that was put."""
        late = self._late.get(cover.stream)
        stored = await self._positions.get(self._consumer, cover)
        if late is None:
            return stored
        return late[1] if stored is None else max(stored, late[1])

    async def put(self, cover: Cover, sequence: int) -> None:
        """Pages up to `sequence` are applied; soon durable."""
        if not cover.is_main:
            await self._positions.put(self._consumer, cover, sequence)
            return
        self._late[cover.stream] = (cover, sequence)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._store_later())

    async def flush(self) -> None:
        """Store what is late; raises StoreUnavailable, then it stays late."""
        late = dict(self._late)
        await asyncio.gather(
            *(self._positions.put(self._consumer, *item) for item in late.values())
        )
        for stream, item in late.items():
            if self._late.get(stream) == item:
                del self._late[stream]

    def forget(self) -> None:
        """Forget what is late; stored ones are reset by who feeds the consumer."""
        self._late.clear()

    async def close(self) -> None:
        """Store what is late, and stop. Raises StoreUnavailable."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.flush()

    async def _store_later(self) -> None:
        try:
            while self._late:
                await self._sleep(self._options.write_behind_s)
                try:
                    await self.flush()
                except StoreClosed:
                    return
                except StoreUnavailable as error:
                    _log.warning("positions of %s are not stored yet: %s", self._consumer, error)
        finally:
            self._task = None
