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
from angzarr.stores._lent import End, LentPage, LentStream, lent_stream
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


NOW = Point()


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
        """The stream as it was; None where the log had no page of exactly this edition: a branch
        that has begun since then followed its parent at that moment (EDN-4)."""
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
        if end <= divergence:
            return None
        stream = lent_stream(cover, divergence, end, self.head)
        for part in stream.parts:
            part.fetch = partial(self._fill, stream)
        stream.fetch_length = partial(self._fill_length, stream)
        return stream

    async def read_end(self, stream: LentStream, below: Cover | None) -> None:
        """Read the stream's newest usable snapshot, and the pages after it.

        below: where the snapshots of its inherited part are, if a port tells.
        """
        if self._point == NOW:
            book = await self._events.load_latest(stream.cover)
            await self.guard(stream.cover)
            if book.next_sequence == stream.end:  # else it has grown, and this says too much
                stream.last = _end(book, 0, stream.end)
                return
        snapshot = await self.snapshot(stream.cover, stream.end - 1)
        if snapshot is None and below is not None:
            snapshot = await self.snapshot(below, stream.base - 1)
        start = 0 if snapshot is None else _pages.read_snapshot(snapshot)[0] + 1
        book = await self._events.load(stream.cover, start=start, stop=stream.end)
        await self.guard(stream.cover)
        stream.last = _end(book, start, stream.end, snapshot)

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
        pages = _pages_of(await self._events.load(cover, stop=length), length)
        late = (n for n, page in enumerate(pages) if page.created_at_ns > point.until_ns)
        return next(late, length)

    async def _fill(self, stream: LentStream, first: int) -> None:
        """Read the missing pages from sequence `first` on."""
        stop, last = stream.read_from, stream.last
        if last is not None and last.start < stop and stop > first:
            stream.put(last.start, _split(last.frames, is_plain=last.is_plain))
            stop = stream.read_from
        if first < stop:
            book = await self._events.load(stream.cover, start=first, stop=stop)
            await self.guard(stream.cover)
            stream.put(first, _pages_of(book, stop))

    async def _fill_length(self, stream: LentStream, position: int) -> None:
        length = await self._events.length_at(stream.cover, position)
        stream.lengths[position] = min(length, stream.end)


def sequence_of(page: bytes) -> int:
    """The sequence in an encoded EventPage."""
    return wire.EventPage.FromString(page).header.sequence


def _end(book: Book, start: int, stop: int, snapshot: bytes | None = None) -> End:
    """The end of a stream by a book of its pages [start, stop); snapshot: if it is not in that."""
    has_any = start < stop or snapshot is None
    opened = _pages.open_book(book.data, stop if has_any else 0)
    if snapshot is None and opened.snapshot is not None:
        snapshot = opened.snapshot
        start = _pages.read_snapshot(snapshot)[0] + 1
    return End(snapshot, start, opened.frames, book.is_plain)


def _pages_of(book: Book, stop: int) -> list[Page]:
    """The pages of a book without a snapshot, the last of them below `stop`."""
    return _split(_pages.open_book(book.data, stop).frames, is_plain=book.is_plain)


def _split(frames: bytes, *, is_plain: bool) -> list[Page]:
    if is_plain:
        return [LentPage(data, 0, True) for data in _pages.split_frames(frames)]
    return [_pages.known_page(data) for data in _pages.split_frames(frames)]
