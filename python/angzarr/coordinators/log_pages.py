"""The log read page by page, the next one while one is worked on."""

from __future__ import annotations

import asyncio

from angzarr.ports.event_store import EventStore, LogEntry


class LogPages:
    """Reads the log of a store for one who goes through it from somewhere on.

    count: entries of a page. At most two pages are in memory.
    """

    def __init__(self, events: EventStore, count: int) -> None:
        self._events = events
        self._count = count
        self._page: list[LogEntry] = []
        self._start = 0
        self._ahead: asyncio.Task[list[LogEntry]] | None = None

    async def after(self, position: int) -> list[LogEntry]:
        """The next entries with a position above `position`; none at the log's end, or where only
        entries of deleted editions are left. Raises what the store raises.
        """
        page = self._page
        if not page or not self._start <= position < page[-1].position:
            page = self._page = await self._next(position)
            self._start = position
            if len(page) == self._count:  # there is more behind a full answer
                reading = self._events.tail(page[-1].position, limit=self._count)
                self._ahead = asyncio.get_running_loop().create_task(reading)
                await asyncio.sleep(0)  # so that it begins at once
        elif page[0].position <= position:
            page = [entry for entry in page if entry.position > position]
        return page

    async def close(self) -> None:
        """Read no more. Idempotent."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def _next(self, position: int) -> list[LogEntry]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and self._page[-1].position == position:
            return await ahead
        self._ahead = ahead
        await self.close()
        return await self._events.tail(position, limit=self._count)
