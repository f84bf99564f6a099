"""The log as the consumers of a process read it: what one of them has read is there for the others.

Consumers that lag read the log by themselves, each from its own place. Those that lag together, as
all do after a start or under a load that is too much, would read and parse the same entries as
often as they are many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from angzarr.coordinators import validate
from angzarr.coordinators.entries import Entry
from angzarr.ports.event_store import EventStore, LogEntry

READ_COUNT: Final = 64
"""Entries of one read: few enough to leave the event loop in a fraction of a millisecond, and to
bound what entries of the greatest size take."""
KEPT_COUNT: Final = 4096
KEPT_BYTES: Final = 8 * 1024 * 1024
"""Entries that are kept for others: four times a consumer's window, and as many bytes as one."""


class SharedLog:
    """Reads entries, and keeps the newest of those that were read."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._kept: dict[int, Entry] = {}  # by the position that it follows; as they were read
        self._size_bytes = 0

    async def look(self, after: int) -> tuple[list[Entry], int]:
        """The next entries of the log, at most READ_COUNT, and the position up to which there are
        no others.

        An answer without entries says that those up to the head as it was before are deleted ones.
        Raises what the store raises.
        """
        entries = self._known(after)
        if entries:
            return entries, entries[-1].position
        head = await self._events.log_head()
        entries = self.keep(await self._events.tail(after, limit=READ_COUNT))
        return entries, entries[-1].position if entries else max(after, head)

    def keep(self, read: Iterable[LogEntry]) -> list[Entry]:
        """Entries that were read of the store, as they are shared."""
        entries = [self._kept.get(entry.first_position - 1) or Entry(entry) for entry in read]
        for entry in entries:
            if entry.cover.domain == validate.SYSTEM:
                self._forget()  # an edition may be deleted, whose entries are in the log no more
            elif entry.first_position - 1 not in self._kept:
                self._kept[entry.first_position - 1] = entry
                self._size_bytes += entry.size_bytes
        self._bound()
        return entries

    def _known(self, after: int) -> list[Entry]:
        entries: list[Entry] = []
        while len(entries) < READ_COUNT and (entry := self._kept.get(after)) is not None:
            entries.append(entry)
            after = entry.position
        return entries

    def _bound(self) -> None:
        kept = self._kept
        while len(kept) > KEPT_COUNT or self._size_bytes > KEPT_BYTES:
            self._size_bytes -= kept.pop(next(iter(kept))).size_bytes

    def _forget(self) -> None:
        self._kept.clear()
        self._size_bytes = 0
