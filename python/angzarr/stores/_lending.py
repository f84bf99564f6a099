"""Reads of an overlay's base, all as of one point, and nothing but reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from angzarr import wire
from angzarr.cover import Cover, Provenance
from angzarr.errors import InvalidInput
from angzarr.ports.event_store import Accepted, Book, LogEntry
from angzarr.ports.stores import Stores
from angzarr.stores import _pages
from angzarr.stores._lent import LentPage, LentStream, lent_stream
from angzarr.stores._memory_streams import StreamKey
from angzarr.stores._pages import Page

Guard = Callable[[str, str], Awaitable[None]]
"""Given a domain and an edition that was read; raises if it is not what it was."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a store: when its log ended at `position`; and the leading pages of each stream
    that were created until then; or when `stream` had `count` pages.

    Without any of them: now.
    """

    position: int | None = None
    until_ns: int | None = None
    stream: Cover | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Latest:
    """The end of a stream of the base. is_current: it is where the overlay has it; else nothing was
    read. snapshot: an encoded one, if there is any, of page `sequence`."""

    is_current: bool
    snapshot: bytes | None = None
    sequence: int = -1


class Lender:
    """What the base was at a point. head: where its log ended when the overlay was made, beyond
    which nothing is read."""

    def __init__(self, base: Stores, point: Point, head: int, guard: Guard | None) -> None:
        self.base = base
        self.head = head
        self._events = base.events
        self._point = point
        self._guard = guard
        self._position = head if point.position is None else min(point.position, head)
        self._is_found = point.stream is None

    async def check(self) -> None:
        """InvalidInput for a point that never was."""
        point = self._point
        if point.stream is None:
            return
        length = await self._events.length_at(point.stream, self.head)
        if not 0 < point.count <= length:
            what = f"a page of {point.stream} in the log, below {length}"
            raise InvalidInput("at", what, point.count - 1)

    async def position(self) -> int:
        """Where the log ended at the point; searched for if that is told by a page."""
        point = self._point
        if not self._is_found:
            assert point.stream is not None
            below, found = 0, self.head
            while below + 1 < found:
                middle = (below + found) // 2
                length = await self._events.length_at(point.stream, middle)
                below, found = (below, middle) if length >= point.count else (middle, found)
            self._position, self._is_found = found, True
        return self._position

    async def stream(self, key: StreamKey) -> LentStream | None:
        """The stream as it was; None where nothing had been written to exactly this edition."""
        cover = _pages.cover_of(key)
        divergence = 0
        if not cover.is_main:
            pinned = await self._events.divergence(cover)
            if pinned is None:
                await self.guard(cover)
                return None
            divergence = pinned
        end = await self._length(cover)
        await self.guard(cover)
        if not end and cover.is_main:
            return None
        stream = lent_stream(cover, min(divergence, end), end, self.head)
        for part in stream.parts:
            part.fetch = partial(self._fill, stream)
        stream.fetch_length = partial(self._fill_length, stream)
        return stream

    async def latest(self, stream: LentStream) -> Latest:
        """Read the end of a stream: its newest usable snapshot, and the pages after it.

        That takes one call where the base has nothing newer; else they are read when they are
        needed.
        """
        book = await self._events.load_latest(stream.cover)
        await self.guard(stream.cover)
        if book.next_sequence != stream.end:
            return Latest(is_current=False)
        data, pages = _split(book)
        stream.put(stream.end - len(pages), pages)
        sequence = -1 if data is None else _pages.read_snapshot(data)[0]
        return Latest(True, data, sequence)

    async def snapshot(self, cover: Cover, sequence: int) -> bytes | None:
        """The stream's own newest snapshot at or below `sequence`."""
        found = await self.base.snapshots.get_at(cover, sequence)
        await self.guard(cover)
        return found

    async def guard(self, cover: Cover) -> None:
        """Raise if the edition is not what it was."""
        if self._guard is not None and not cover.is_main:
            await self._guard(cover.domain, cover.edition)

    async def accepted(
        self, stream: LentStream, provenance: Provenance | None, external_id: str
    ) -> Accepted | None:
        """What a key stood for; acceptances without pages are not known, as they have no time."""
        if provenance is not None:
            found = await self._events.find_by_provenance(stream.cover, provenance)
        else:
            found = await self._events.find_by_external_id(stream.cover, external_id)
        if found is None or not found.pages or sequence_of(found.pages[-1]) >= stream.end:
            return None
        return found

    async def logged(self, after: int, limit: int) -> list[LogEntry]:
        """Entries of the base's log; what is beyond the point may be among them."""
        entries = await self._events.tail(after, limit=limit)
        return [entry for entry in entries if entry.first_position <= self.head]

    async def _length(self, cover: Cover) -> int:
        point = self._point
        if point.stream is not None and cover.stream == point.stream.stream:
            return point.count
        length = await self._events.length_at(cover, await self.position())
        if point.until_ns is None or not length:
            return length
        _, pages = _split(await self._events.load(cover, stop=length))
        late = (n for n, page in enumerate(pages) if page.created_at_ns > point.until_ns)
        return next(late, length)

    async def _fill(self, stream: LentStream, first: int) -> None:
        """Read the missing pages from sequence `first` on."""
        stop = stream.read_from
        if first < stop:
            book = await self._events.load(stream.cover, start=first, stop=stop)
            await self.guard(stream.cover)
            stream.put(first, _split(book)[1])

    async def _fill_length(self, stream: LentStream, position: int) -> None:
        length = await self._events.length_at(stream.cover, position)
        stream.lengths[position] = min(length, stream.end)


def sequence_of(page: bytes) -> int:
    """The sequence in an encoded EventPage."""
    return wire.EventPage.FromString(page).header.sequence


def _split(book: Book) -> tuple[bytes | None, list[Page]]:
    """The snapshot and the pages of a book, as stored."""
    snapshot, pages = _pages.split_book(book.data)
    if book.is_plain:
        return snapshot, [LentPage(data, 0, True) for data in pages]
    return snapshot, [_pages.known_page(data) for data in pages]
