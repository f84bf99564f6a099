"""One book on its way into a read model: trimmed, its gap filled, upcast, applied (PROJ-3 to
PROJ-5, PROJ-13).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from angzarr import wire
from angzarr.coordinators import books, projector_books
from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.subscriptions import Filter
from angzarr.coordinators.views import Views
from angzarr.cover import Cover
from angzarr.ports.components import CallContext, Projector, Upcaster
from angzarr.ports.event_store import Book, EventStore
from angzarr.ports.read_store import StoredProjector, Unit

PUBLISHED: Final = "published"
REQUESTED: Final = "requested"
REDELIVERED: Final = "redelivered"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a book. cover: its own. last: sequence of the last page that was applied.
    projection: what the handler answered with, None where it was not called or has nothing to say.
    """

    cover: wire.Cover
    last: int
    projection: wire.Projection | None = None


class Place(Protocol):
    """Where books are applied, and how far each stream has come there."""

    async def position(self, cover: Cover) -> int | None:
        """The last sequence that was applied."""
        ...

    async def put_position(self, cover: Cover, sequence: int) -> None:
        """Pages up to `sequence` are applied."""
        ...

    async def call(
        self, book: wire.EventBook, cover: Cover, context: CallContext
    ) -> wire.Projection | None:
        """Give the book, which is one of the stream of `cover`, to the projector."""
        ...


class Positions(Protocol):
    """How far each stream has come, of one consumer."""

    async def get(self, cover: Cover) -> int | None: ...
    async def put(self, cover: Cover, sequence: int) -> None: ...


class StoredPlace:
    """A transaction of a read store: rows and position in one."""

    __slots__ = ("_db", "_projector", "position", "put_position")

    def __init__(self, projector: StoredProjector, unit: Unit[object]) -> None:
        self._projector = projector
        self._db = unit.db
        self.position = unit.position
        self.put_position = unit.put_position

    async def call(
        self, book: wire.EventBook, cover: Cover, context: CallContext
    ) -> wire.Projection | None:
        """Run the projector's methods in the transaction; they skip what is not for them."""
        packed = await self._projector.apply(book, self._db, cover)
        return None if packed is None else wire.Projection(projection=packed)


class PlainPlace:
    """A projector that keeps its rows itself, and positions beside them.

    It is given the pages that it subscribed; NoOps too, unless it names types.
    """

    __slots__ = ("_filter", "_has_types", "_projector", "position", "put_position")

    def __init__(self, projector: Projector, positions: Positions) -> None:
        self._projector = projector
        self._filter = Filter(projector.subscriptions)
        self._has_types = any(item.types for item in projector.subscriptions)
        self.position = positions.get
        self.put_position = positions.put

    async def call(
        self, book: wire.EventBook, cover: Cover, context: CallContext
    ) -> wire.Projection | None:
        """Ask the projector, unless nothing in the book is for it."""
        wanted = self._filter.pages(cover.domain, book.pages)
        if not wanted:
            return None
        if self._has_types and len(wanted) < len(book.pages):
            book = projector_books.book_of(book.cover, wanted)
        answer = await self._projector.handle(book.SerializeToString(), context)
        return books.parse(wire.Projection, answer)


class Projecting:
    """Brings books to places: what every way to a projector shares.

    upcasters: by domain, where there are any.
    """

    def __init__(
        self,
        events: EventStore,
        upcasters: Mapping[str, Upcaster],
        options: ProjectorOptions,
    ) -> None:
        self._events = events
        self._upcasters = upcasters
        self._views = Views(events, upcasters)
        self._options = options

    def is_next(self, cover: Cover, book: wire.EventBook, position: int | None) -> bool:
        """Whether the book is what a place wants next that has come to `position` in the stream,
        just as it is: nothing of it is known there, or missing before it, or to be upcast.
        """
        pages = book.pages
        start = 0 if position is None else position + 1
        return (
            len(pages) > 0
            and pages[0].header.sequence == start
            and cover.domain not in self._upcasters
        )

    async def feed(
        self,
        place: Place,
        given: bytes | wire.EventBook,
        context: CallContext,
        how: str = PUBLISHED,
        cover: Cover | None = None,
    ) -> Applied | None:
        """Apply a book's pages that are new to the place, and those before them that it lacks;
        None if there is nothing new. A book that is given parsed may be changed.

        how: PUBLISHED as the log has it; REQUESTED, of which pages from the first pending one of
        the stream on are left to the log (CAS-9); REDELIVERED, which was passed before, and is
        applied once more whatever the position. cover: the book's own, where it is at hand.
        """
        book = books.parse(wire.EventBook, given) if isinstance(given, bytes) else given
        if how == REQUESTED:
            del book.pages[projector_books.cut_pending(book.pages) :]
        if not book.pages:
            return None
        cover = cover or books.cover_of(book.cover)
        if how == REDELIVERED:
            book = await self._upcast(cover, book, context)
            projection = await place.call(book, cover, context)
            return Applied(book.cover, book.pages[-1].header.sequence, projection)
        position = await place.position(cover)
        if not projector_books.trim(book, position):
            return None
        if cover.domain in self._upcasters:
            book = await self._upcast(cover, book, context)
        start = 0 if position is None else position + 1
        if start < book.pages[0].header.sequence:
            return await self._fill(place, cover, book, start, context, how)
        return await self._apply(place, cover, book, context)

    async def lifted(self, given: bytes, context: CallContext) -> wire.EventBook:
        """The book as the projector sees it, whatever its place has."""
        book = books.parse(wire.EventBook, given)
        return await self._upcast(books.cover_of(book.cover), book, context)

    async def catch_up(self, place: Place, cover: Cover, context: CallContext) -> None:
        """Apply what the place lacks of a stream, up to its first pending page."""
        position = await place.position(cover)
        start = 0 if position is None else position + 1
        nothing = wire.EventBook(cover=_wire_cover(cover))
        await self._fill(place, cover, nothing, start, context, REQUESTED)

    async def _fill(
        self,
        place: Place,
        cover: Cover,
        book: wire.EventBook,
        start: int,
        context: CallContext,
        how: str,
    ) -> Applied | None:
        """Apply the stream's pages from `start` on up to the book's, and then those (PROJ-5); in
        one book, or in several of bounded size.
        """
        applied: Applied | None = None
        held: list[wire.EventPage] = []
        is_cut = False
        stop = book.pages[0].header.sequence if book.pages else None
        async for pages in self._read(cover, start, stop, context):
            if how == REQUESTED:
                count = projector_books.cut_pending(pages)
                is_cut = count < len(pages)
                del pages[count:]
            if held:
                applied = await self._give(place, cover, book.cover, held, context, applied)
            held = pages
            if is_cut:
                break
        if not is_cut:
            held += book.pages
        return await self._give(place, cover, book.cover, held, context, applied)

    async def _read(
        self, cover: Cover, start: int, stop: int | None, context: CallContext
    ) -> AsyncIterator[list[wire.EventPage]]:
        """Pages [start, stop) as readers see them; None is the head."""
        limit = self._options.gap_pages
        while stop is None or start < stop:
            until = start + limit if stop is None else min(start + limit, stop)
            stored = await self._events.load(cover, start=start, stop=until)
            view = await self._views.of(stored, cover, context)
            yield list(view.message.pages)
            stop = stored.next_sequence if stop is None else stop
            start = until

    async def _give(
        self,
        place: Place,
        cover: Cover,
        named: wire.Cover,
        pages: Sequence[wire.EventPage],
        context: CallContext,
        applied: Applied | None,
    ) -> Applied | None:
        """Apply the pages in books within the bounds. applied: what came of those before."""
        bounds = self._options
        for part in projector_books.parts(
            pages, count_max=2 * bounds.gap_pages, bytes_max=bounds.book_bytes
        ):
            book = projector_books.book_of(named, part)
            applied = _later(applied, await self._apply(place, cover, book, context))
        return applied

    async def _apply(
        self, place: Place, cover: Cover, book: wire.EventBook, context: CallContext
    ) -> Applied:
        last = book.pages[-1].header.sequence
        projection = await place.call(book, cover, context)
        await place.put_position(cover, last)
        return Applied(book.cover, last, projection)

    async def _upcast(
        self, cover: Cover, book: wire.EventBook, context: CallContext
    ) -> wire.EventBook:
        if cover.domain not in self._upcasters:
            return book
        plain = Book(book.SerializeToString(), book.next_sequence, is_plain=True)
        return (await self._views.of(plain, cover, context)).message


def _later(earlier: Applied | None, later: Applied) -> Applied:
    """Of two books of one delivery the later one, with the projection that was made last."""
    if earlier is None or later.projection is not None:
        return later
    return Applied(later.cover, later.last, earlier.projection)


def _wire_cover(cover: Cover) -> wire.Cover:
    return wire.Cover(
        domain=cover.domain,
        root=wire.UUID(value=cover.root),
        edition=wire.Edition(name=cover.edition),
    )
