"""Streams as they were: what a point in time comes to, and the state there (SPEC-2, QRY-17)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from angzarr import wire
from angzarr.coordinators import books, merge, validate
from angzarr.coordinators.merge import StateUnknown
from angzarr.coordinators.pipeline import Call, Pipeline, storing
from angzarr.coordinators.views import View
from angzarr.errors import AngzarrError, HandlerFailed, InvalidInput, SnapshotUnreadable

T = TypeVar("T")


class Past:
    """Reads streams for their handlers, at their end or as of a point, and asks for states."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def seen(
        self,
        call: Call,
        point: wire.TemporalQuery | None,
        use: Callable[[View], Awaitable[T]],
        *,
        is_within: bool = False,
    ) -> T:
        """`use` on what the call's handler sees of the stream as of `point`; None is its end.

        The view's next_sequence is that of the state, which new pages follow. is_within: a sequence
        above the head is InvalidInput (SPEC-4). Raises InvalidInput for an invalid time.
        """
        if point is None or point.WhichOneof("point_in_time") is None:
            return await self._pipeline.loaded(call, lambda loaded: use(loaded.view))
        if point.HasField("as_of_time"):
            return await use(await self._until(call, point))
        stop = await self._stop(call, point, is_within=is_within)
        base = None
        if self._pipeline.reads_snapshots(call.component, call.cover.domain):
            base = await self._pipeline.snapshot_below(call, stop)
        if base is not None:
            try:
                return await use(await self._below(call, stop, base))
            except SnapshotUnreadable as error:
                self._pipeline.counters.skipped(call.cover, error)
        return await use(await self._below(call, stop, None))

    async def state(self, call: Call, view: View) -> bytes:
        """The encoded Any of the state after the view's pages; b"" for a stream without any.

        Raises what the handler does; HandlerFailed for an answer without a state.
        """
        message = view.message
        base = message.snapshot if message.HasField("snapshot") else None
        try:
            return await merge.state(call.component, message.pages, base, call.context)
        except StateUnknown as unknown:
            if isinstance(unknown.__cause__, AngzarrError):
                raise unknown.__cause__ from None
            raise HandlerFailed(
                call.component.name, "Replay: an answer without a state"
            ) from unknown

    async def _until(self, call: Call, point: wire.TemporalQuery) -> View:
        """Pages by their times, which no snapshot tells (SNAP-11)."""
        time_ns = validate.time_ns(point.as_of_time, "point_in_time.as_of_time")
        with storing("load events"):
            book = await self._pipeline.events.load_until(
                call.cover, time_ns, divergence=call.divergence
            )
            end = wire.EventBook.FromString(book.data).next_sequence
            return await self._pipeline.view(replace(book, next_sequence=end), call)

    async def _stop(self, call: Call, point: wire.TemporalQuery, *, is_within: bool) -> int:
        """How many of the stream's pages there were then."""
        events, cover, divergence = self._pipeline.events, call.cover, call.divergence
        with storing("load events"):
            if point.HasField("as_of_position"):
                return await events.length_at(cover, point.as_of_position, divergence=divergence)
            following = await events.next_sequence(cover, divergence=divergence)
        last = point.as_of_sequence
        if is_within and last >= following:
            allowed = f"below {following}"
            raise InvalidInput("point_in_time.as_of_sequence", allowed, last)
        return min(last + 1, following)

    async def _below(self, call: Call, stop: int, base: wire.Snapshot | None) -> View:
        """Pages below `stop`, those that `base` holds left to it."""
        start = 0 if base is None else base.sequence + 1
        with storing("load events"):
            book = await self._pipeline.events.load(
                call.cover, start=start, stop=stop, divergence=call.divergence
            )
            data = book.data
            if base is not None:
                _, at = books.field_at(data, 0)  # behind the cover
                data = data[:at] + books.frame(books.TAG_2, base.SerializeToString()) + data[at:]
            return await self._pipeline.view(replace(book, data=data, next_sequence=stop), call)
