"""From the log straight into a read model, many books a transaction: replays (PROJ-9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, projector_books
from angzarr.coordinators.projecting import Projecting, StoredPlace
from angzarr.coordinators.subscriptions import Filter, editions_of
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, StoreUnavailable
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import EventStore, LogEntry
from angzarr.ports.read_store import Progress, ReadModel, StoredProjector, Unit

READ_COUNT: Final = 512
"""Entries of one read of the log."""

COMMIT_ENTRIES: Final = 8 * READ_COUNT
"""Entries of one transaction: what a crash repeats."""

SHARED_ENTRIES: Final = READ_COUNT // 4
"""The same where others write to the read model meanwhile, and wait."""

ROUNDS: Final = 10
"""Looks at the log's head, since it moves on while the log is read."""

SLICE_S: Final = 0.005
"""How long the loop is kept before others get a turn."""

FAILURES_KEPT: Final = 1_000
"""Books that may be passed over in one run; more of them are no exceptions."""

Limit = Callable[[Cover], int | None]
"""The sequence up to which a stream is wanted; None is nothing of it."""

_CONTEXT: Final = CallContext()


@dataclass(slots=True)
class Rebuilt:
    """What a run came to. entry_count: log entries that were looked at. position: the log position
    of the read model. failures: books that were passed over, by log position, with the reason.
    """

    entry_count: int = 0
    position: int = 0
    failures: dict[int, str] = field(default_factory=dict[int, str])


class Rebuild:
    """Feeds read models of one projector from the log, from their own cursors on.

    Who calls it owns the read model, or shares it with writers of the same projector: each event is
    applied once, whoever is first.
    """

    def __init__(
        self, projector: StoredProjector, projecting: Projecting, events: EventStore
    ) -> None:
        self._projector = projector
        self._projecting = projecting
        self._events = events
        self._filter = Filter(projector.subscriptions)
        self._editions = editions_of(projector.editions)

    async def catch_up(
        self,
        model: ReadModel[object],
        limit: Limit | None = None,
        *,
        progress: Progress | None = None,
        is_shared: bool = False,
        passes_failures: bool = False,
    ) -> Rebuilt:
        """Apply what the log has beyond the read model's cursor, up to its head.

        limit: up to which sequence each stream is wanted; the cursor stays then. is_shared: others
        write to it meanwhile. passes_failures: a book that the projector fails on is left out, its
        position passed, as after its dead letter. Else the projector's error is raised; what was
        committed before stays. Raises StoreUnavailable.
        """
        rebuilt = Rebuilt()
        async with model.transaction() as unit:
            rebuilt.position = await unit.cursor() or 0
        size = SHARED_ENTRIES if is_shared else COMMIT_ENTRIES
        for _ in range(ROUNDS):
            head = await self._events.log_head()
            if rebuilt.position >= head:
                break
            while rebuilt.position < head:
                await self._commit(model, rebuilt, head, size, limit, passes_failures)
                if progress is not None:
                    progress(min(rebuilt.position, head), head)
        return rebuilt

    async def _commit(
        self,
        model: ReadModel[object],
        rebuilt: Rebuilt,
        head: int,
        size: int,
        limit: Limit | None,
        passes_failures: bool,
    ) -> None:
        """One transaction; again without the book that failed, where that is allowed."""
        run = _Run(rebuilt.position, head, size)
        while True:
            try:
                async with model.transaction() as unit:
                    await self._apply(unit, run, rebuilt, limit)
                    if limit is None:
                        await unit.put_cursor(run.position)
                break
            except StoreUnavailable:
                raise
            except AngzarrError as error:
                is_full = len(rebuilt.failures) >= FAILURES_KEPT
                if not passes_failures or is_full or run.position == run.start:
                    raise
                rebuilt.failures[run.position] = str(error)
                run = _Run(rebuilt.position, head, size)
        rebuilt.position = run.position
        rebuilt.entry_count += run.count

    async def _apply(
        self, unit: Unit[object], run: _Run, rebuilt: Rebuilt, limit: Limit | None
    ) -> None:
        place = StoredPlace(self._projector, unit)
        until = time.perf_counter() + SLICE_S
        while run.position < run.head and run.count < run.size:
            entries = await self._events.tail(run.position, limit=READ_COUNT)
            for entry in entries:
                run.position = entry.position  # that of the entry in work, should it fail
                await self._entry(place, unit, entry, rebuilt, limit)
                run.count += 1
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + SLICE_S
            if not entries:
                run.position = run.head  # only entries of deleted editions are left

    async def _entry(
        self,
        place: StoredPlace,
        unit: Unit[object],
        entry: LogEntry,
        rebuilt: Rebuilt,
        limit: Limit | None,
    ) -> None:
        book = books.parse(wire.EventBook, entry.book)
        domain = book.cover.domain
        for deleted in projector_books.deleted_editions(book):
            await unit.forget_edition(deleted.domain, deleted.edition)
        if not self._filter.wants(domain):
            return
        if self._editions is not None and book.cover.edition.name not in self._editions:
            return
        if limit is not None:
            last = limit(books.cover_of(book.cover))
            if last is None:
                return
            del book.pages[_count_up_to(book.pages, last) :]
        if entry.position in rebuilt.failures:
            if book.pages:
                await _pass(place, book)
            return
        await self._projecting.feed(place, book, _CONTEXT)


@dataclass(slots=True)
class _Run:
    """One transaction's way through the log."""

    start: int
    head: int
    size: int
    position: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self.position = self.start


async def _pass(place: StoredPlace, book: wire.EventBook) -> None:
    """Move the position over a book that is left out."""
    cover = books.cover_of(book.cover)
    last = book.pages[-1].header.sequence
    position = await place.position(cover)
    if position is None or position < last:
        await place.put_position(cover, last)


def _count_up_to(pages: Sequence[wire.EventPage], last: int) -> int:
    return sum(page.header.sequence <= last for page in pages)
