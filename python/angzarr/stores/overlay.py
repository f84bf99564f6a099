"""A store in memory over another one, which it only reads: what would happen, had it happened.

    overlay = await lay_over(base)
    await overlay.events.append(…)              # the base never hears of it

Its streams are those of the base as they were at one moment, whatever the base does afterwards, and
what is written on them. Nothing is copied: a stream is read when it is first looked at, and of that
only what is needed, its newest snapshot and the pages after it where that is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from angzarr.cover import MAIN
from angzarr.errors import InvalidInput
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import Limits
from angzarr.ports.stores import StoreFacts, Stores
from angzarr.stores._lending import NOW, Lender
from angzarr.stores._lending import Guard as Guard
from angzarr.stores._lending import Point as Point
from angzarr.stores._overlay_events import OverlayEvents
from angzarr.stores._overlay_events import Written as Written
from angzarr.stores._overlay_ports import (
    LentSnapshots,
    LentStreams,
    OverlayEditions,
    OverlayPositions,
)
from angzarr.stores.memory import MemoryStores


async def lay_over(
    base: Stores,
    point: Point = NOW,
    *,
    clock: Clock,
    limits: Limits | None = None,
    guard: Guard | None = None,
) -> OverlayStores:
    """An overlay over `base` as of a point.

    Of a stream it has the leading pages that the base's log had at that moment; pages that a
    cascade holds back are not among them, nor what follows those. guard: told each domain and
    edition other than main that is read, and raises if that was deleted meanwhile. Raises
    InvalidInput for a page that is not in the base's log, and what the base raises.
    """
    lender = Lender(base, point, await base.events.log_head(), guard)
    await lender.check()
    return OverlayStores(lender, limits or Limits(), clock)


class OverlayStores(MemoryStores):
    """All ports of the overlay; `close` leaves the base open."""

    def __init__(self, lender: Lender, limits: Limits, clock: Clock) -> None:
        super().__init__("", limits, clock)
        self.url = "overlay://"
        self.lender = lender
        self.snapshots = LentSnapshots(self.serving, limits, clock, lender)
        self._streams = self._lent = streams = LentStreams(lender, self.snapshots)
        self.snapshots.streams = streams
        self.positions = OverlayPositions(self.serving, clock, lender.head)
        self.events: OverlayEvents = OverlayEvents(
            self, streams, self.snapshots, lender, limits, clock, self._waiters
        )
        self.editions = OverlayEditions(self.serving, streams, lender, clock, self._forget_streams)

    async def know_edition(self, edition: str) -> None:
        """Take over what the edition is a branch of, and that, up to main."""
        declared = self._lent.declared
        while edition != MAIN:
            await declared.fetch(edition)
            edition = declared.parent(edition)

    def facts(self) -> StoreFacts:
        """What was written here, or read from the base."""
        with self.serving():
            return StoreFacts(self.url, False, 1, 0, self.events.figures())

    async def backup(
        self, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Refused: there is nothing on disk."""
        with self.serving():
            raise InvalidInput("store", "on disk for a backup", self.url)
