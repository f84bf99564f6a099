"""Streams as they were: what a point in time comes to, and the state there (SPEC-2, QRY-17)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from angzarr import wire
from angzarr.coordinators import merge, validate
from angzarr.coordinators.merge import StateUnknown
from angzarr.coordinators.pipeline import Call, Pipeline, storing
from angzarr.coordinators.views import View
from angzarr.errors import AngzarrError, HandlerFailed, InvalidInput
from angzarr.ports.event_store import Book

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
        with storing("load events"):
            book = await self._book(call, point)
            if is_within and point.HasField("as_of_sequence"):
                last = point.as_of_sequence
                if last >= book.next_sequence:
                    allowed = f"below {book.next_sequence}"
                    raise InvalidInput("point_in_time.as_of_sequence", allowed, last)
            end = wire.EventBook.FromString(book.data).next_sequence
            view = await self._pipeline.view(replace(book, next_sequence=end), call)
        return await use(view)

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

    async def _book(self, call: Call, point: wire.TemporalQuery) -> Book:
        events, cover, divergence = self._pipeline.events, call.cover, call.divergence
        if point.HasField("as_of_time"):
            time_ns = validate.time_ns(point.as_of_time, "point_in_time.as_of_time")
            return await events.load_until(cover, time_ns, divergence=divergence)
        if point.HasField("as_of_position"):
            stop = await events.length_at(cover, point.as_of_position, divergence=divergence)
        else:
            stop = point.as_of_sequence + 1
        return await events.load(cover, stop=stop, divergence=divergence)
