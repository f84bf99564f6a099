"""Points of history that branches start from: read and folded once each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any as Untyped
from typing import Final

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.views import Views
from angzarr.cover import Cover, Root, root_of
from angzarr.data.sources import Opened
from angzarr.errors import InvalidDivergence
from angzarr.handlers.table import HandlerTable
from angzarr.ports.components import CallContext

PAGES_MAX: Final = 10_000
"""Pages of one read of a stream."""

Copy = Callable[[], Untyped]


@dataclass(frozen=True, slots=True)
class Point:
    """Where branches start.

    root: of the stream. sequence: the first that is the branch's own, so the events below it are
    what has happened; None is the stream's end. edition: of the stream, "" is main. weight: how
    often it is chosen; if all are equal the points take turns.
    """

    root: Root
    sequence: int | None = None
    edition: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """A point that was read. cover: of its stream. time_ns: of the last event below it. copy: a
    state of its own for each branch."""

    point: Point
    cover: Cover
    sequence: int
    time_ns: int
    copy: Copy


async def starts_of(
    source: Opened,
    table: HandlerTable,
    points: Sequence[Point],
    clone: Callable[[Untyped], Untyped] | None,
) -> list[Start]:
    """The points, in their order; each stream is read once, whatever the number of its points.

    clone: copies a state; None copies by way of the class's snapshot codec, where fields whose
    names start with `_` come back at their defaults. Raises InvalidDivergence for a point beyond
    its stream's end, CorruptData, HandlerFailed, UpcasterFailed.
    """
    by_stream: dict[Cover, list[int]] = {}
    for index, point in enumerate(points):
        cover = Cover(table.domain, root_of(point.root), point.edition)
        by_stream.setdefault(cover, []).append(index)
    views = Views(source.stores.events, source.upcasters)
    found: dict[int, Start] = {}
    for cover, indexes in by_stream.items():
        stream = _Stream(source, views, table, cover, clone)
        end = await source.stores.events.next_sequence(cover)
        wanted = {index: end if (at := points[index].sequence) is None else at for index in indexes}
        for index in sorted(indexes, key=lambda index: wanted[index]):
            sequence = wanted[index]
            if not 0 <= sequence <= end:
                raise InvalidDivergence(cover, sequence, end)
            found[index] = await stream.start(points[index], sequence)
    return [found[index] for index in range(len(points))]


class _Stream:
    """One stream, folded up to where its points are, one after the other."""

    def __init__(
        self,
        source: Opened,
        views: Views,
        table: HandlerTable,
        cover: Cover,
        clone: Callable[[Untyped], Untyped] | None,
    ) -> None:
        self._events = source.stores.events
        self._views = views
        self._table = table
        self._cover = cover
        self._clone = clone
        self._state: Untyped = table.initial()
        self._sequence = 0
        self._time_ns = 0

    async def start(self, point: Point, sequence: int) -> Start:
        """The stream at `sequence`, which is not below that of the last call."""
        while self._sequence < sequence:
            stop = min(self._sequence + PAGES_MAX, sequence)
            book = await self._events.load(self._cover, start=self._sequence, stop=stop)
            view = await self._views.of(book, self._cover, CallContext())
            pages = view.message.pages
            self._fold(pages)
            self._sequence = stop
        return Start(point, self._cover, sequence, self._time_ns, self._copier())

    def _fold(self, pages: Sequence[wire.EventPage]) -> None:
        self._state = self._table.fold(self._state, pages)
        if pages:
            self._time_ns = books.nanoseconds(pages[-1].created_at)

    def _copier(self) -> Copy:
        clone, table = self._clone, self._table
        if clone is not None:
            kept = clone(self._state)
            return lambda: clone(kept)
        try:
            encoded = table.states.encode(self._state)
        except (TypeError, ValueError) as error:
            raise table.failed("encoding the state", error) from error
        decode = table.states.decode
        return lambda: decode(encoded)
