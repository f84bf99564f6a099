"""Explored branches as editions: many appends in flight, none of them waited for alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from angzarr.data.playing import Played
from angzarr.ports.event_store import Limits
from angzarr.ports.stores import Stores

IN_FLIGHT_MAX: Final = 512
"""Branches that are being written; the store's queue takes several times as many."""
PAGES_MAX: Final = Limits().max_pages_per_append
BYTES_MAX: Final = Limits().max_append_bytes * 3 // 4


class Keeper:
    """Writes branches, each on an edition of its own.

    edition: names that of a branch. expires_at_ns: of the editions, 0 is never; without it branches
    of main need no declaration.
    """

    def __init__(
        self, stores: Stores, edition: Callable[[int], str], expires_at_ns: int = 0
    ) -> None:
        self._events = stores.events
        self._stores = stores
        self._edition = edition
        self._expires_at_ns = expires_at_ns
        self._running: set[asyncio.Task[None]] = set()

    async def keep(self, played: Played) -> None:
        """Begin to write a branch; one without events leaves nothing. Raises what writing an
        earlier one has raised."""
        if not played.events:
            return
        while len(self._running) >= IN_FLIGHT_MAX:
            await self._wait(asyncio.FIRST_COMPLETED)
        self._running.add(asyncio.create_task(self._write(played)))

    async def settled(self) -> None:
        """Return when all that was begun is written; then its durability is that of appends."""
        while self._running:
            await self._wait(asyncio.ALL_COMPLETED)

    async def abandon(self) -> None:
        """Wait for what has been begun, whatever becomes of it: its caller has failed already."""
        running, self._running = self._running, set()
        await asyncio.gather(*running, return_exceptions=True)

    async def _wait(self, until: str) -> None:
        done, self._running = await asyncio.wait(self._running, return_when=until)
        for task in done:
            task.result()

    async def _write(self, played: Played) -> None:
        start, name = played.start, self._edition(played.index)
        if self._expires_at_ns or not start.cover.is_main:
            await self._stores.editions.declare(
                name, parent=start.cover.edition, expires_at_ns=self._expires_at_ns
            )
        cover, sequence = start.cover.on(name), start.sequence
        for group in _groups([made.encoded() for made in played.events]):
            await self._events.append(cover, sequence, group, divergence=start.sequence)
            sequence += len(group)


def _groups(pages: list[bytes]) -> list[list[bytes]]:
    """The pages in parts that one append takes."""
    groups: list[list[bytes]] = [[]]
    size_bytes = 0
    for page in pages:
        if groups[-1] and (len(groups[-1]) == PAGES_MAX or size_bytes + len(page) > BYTES_MAX):
            groups.append([])
            size_bytes = 0
        groups[-1].append(page)
        size_bytes += len(page)
    return groups
