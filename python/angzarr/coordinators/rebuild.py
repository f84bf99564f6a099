"""From the log straight into a read model, many books a transaction: replays (PROJ-9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, projector_books, validate
from angzarr.coordinators.entries import NOWHERE, cover_in
from angzarr.coordinators.log_pages import LogPages
from angzarr.coordinators.projecting import PUBLISHED, Projecting
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

Stream = tuple[str, str, bytes]

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
        pages = LogPages(self._events, READ_COUNT)
        try:
            for _ in range(ROUNDS):
                head = await self._events.log_head()
                if rebuilt.position >= head:
                    break
                while rebuilt.position < head:
                    run = _Run(rebuilt, pages, head, size, limit)
                    await self._commit(model, run, passes_failures=passes_failures)
                    if progress is not None:
                        progress(min(rebuilt.position, head), head)
        finally:
            await pages.close()
        return rebuilt

    async def _commit(self, model: ReadModel[object], run: _Run, *, passes_failures: bool) -> None:
        """One transaction; again without the book that failed, where that is allowed."""
        rebuilt = run.rebuilt
        while True:
            run.begin()
            try:
                async with model.transaction() as unit:
                    await self._apply(unit, run)
                    if run.limit is None:
                        await unit.put_cursor(run.position)
                break
            except StoreUnavailable:
                raise
            except AngzarrError as error:
                is_full = len(rebuilt.failures) >= FAILURES_KEPT
                if not passes_failures or is_full or run.position == rebuilt.position:
                    raise
                rebuilt.failures[run.position] = str(error)
        rebuilt.position = run.position
        rebuilt.entry_count += run.count

    async def _apply(self, unit: Unit[object], run: _Run) -> None:
        place = _Place(self._projector, unit)
        until = time.perf_counter() + SLICE_S
        while run.position < run.head and run.count < run.size:
            entries = await run.pages.after(run.position)
            for entry in entries[: run.size - run.count]:
                run.position = entry.position  # that of the entry in work, should it fail
                await self._entry(place, entry, run)
                run.count += 1
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + SLICE_S
            if not entries:
                run.position = run.head  # only entries of deleted editions are left
        await place.flush()

    async def _entry(self, place: _Place, entry: LogEntry, run: _Run) -> None:
        cover = cover_in(entry.book)
        if cover is NOWHERE:
            cover = books.cover_of(books.parse(wire.EventBook, entry.book).cover)
        if cover.domain == validate.SYSTEM:
            await place.forget_editions(entry)
        if not self._filter.wants(cover.domain):
            return
        if self._editions is not None and cover.edition not in self._editions:
            return
        book = books.parse(wire.EventBook, entry.book)
        position = await place.position(cover)
        if run.limit is not None:
            last = run.limit(cover)
            if last is None:
                return
            del book.pages[_count_up_to(book.pages, last) :]
        if entry.position in run.rebuilt.failures:
            if book.pages:
                await place.pass_by(cover, book)
        elif self._projecting.is_next(cover, book, position):
            await place.apply(cover, book)
        else:
            await self._projecting.feed(place, book, _CONTEXT, PUBLISHED, cover)


@dataclass(slots=True)
class _Run:
    """One transaction's way through the log, from where `rebuilt` is on."""

    rebuilt: Rebuilt
    pages: LogPages
    head: int
    size: int
    limit: Limit | None
    position: int = 0
    count: int = 0

    def begin(self) -> None:
        self.position, self.count = self.rebuilt.position, 0


class _Place:
    """A transaction that only we write meanwhile: a position is read once, and put at the end."""

    def __init__(self, projector: StoredProjector, unit: Unit[object]) -> None:
        self._apply = projector.apply
        self._unit = unit
        self._db = unit.db
        self._known: dict[Stream, int | None] = {}
        self._put: dict[Stream, Cover] = {}

    async def position(self, cover: Cover) -> int | None:
        """The last sequence that was applied."""
        stream = cover.stream
        known = self._known
        if stream not in known:
            known[stream] = await self._unit.position(cover)
        return known[stream]

    async def put_position(self, cover: Cover, sequence: int) -> None:
        """Pages up to `sequence` are applied."""
        stream = cover.stream
        self._known[stream] = sequence
        self._put[stream] = cover

    async def call(
        self, book: wire.EventBook, cover: Cover, context: CallContext
    ) -> wire.Projection | None:
        """Apply it; nobody asks for projections of what was long ago."""
        await self._apply(book, self._db, cover)

    async def apply(self, cover: Cover, book: wire.EventBook) -> None:
        """Apply the book that comes next in its stream."""
        await self._apply(book, self._db, cover)
        stream = cover.stream
        self._known[stream] = book.pages[-1].header.sequence
        self._put[stream] = cover

    async def pass_by(self, cover: Cover, book: wire.EventBook) -> None:
        """Move the position over a book that is left out."""
        last = book.pages[-1].header.sequence
        position = await self.position(cover)
        if position is None or position < last:
            await self.put_position(cover, last)

    async def forget_editions(self, entry: LogEntry) -> None:
        """Hear of deleted editions (PROJ-15)."""
        await self.flush()
        book = books.parse(wire.EventBook, entry.book)
        for deleted in projector_books.deleted_editions(book):
            await self._unit.forget_edition(deleted.domain, deleted.edition)

    async def flush(self) -> None:
        """Put what is not put yet, and begin anew."""
        for stream, cover in self._put.items():
            sequence = self._known[stream]
            assert sequence is not None, "it was put"
            await self._unit.put_position(cover, sequence)
        self._known.clear()
        self._put.clear()


def _count_up_to(pages: Sequence[wire.EventPage], last: int) -> int:
    return sum(page.header.sequence <= last for page in pages)
