"""What would happen: a command decided on some state, and nothing kept (SPEC-1 to SPEC-4)."""

from __future__ import annotations

from dataclasses import replace

from angzarr import wire
from angzarr.coordinators import books, numbering, validate
from angzarr.coordinators.external import External
from angzarr.coordinators.pipeline import Call, Pipeline, storing
from angzarr.coordinators.views import View
from angzarr.errors import CommandRejected, InvalidInput


class Speculation:
    """Decides over a pipeline without appending."""

    def __init__(self, pipeline: Pipeline, external: External) -> None:
        self._pipeline = pipeline
        self._external = external

    async def run(self, call: Call, point: wire.TemporalQuery | None) -> bytes:
        """The EventBook that the call would lead to, encoded; `point` None is the latest state."""
        await self._external.resolve(call.command, call.component.name, keeps_letters=False)
        view = await self._view(call, point)
        answer = await self._pipeline.ask(call, view)
        response = books.parse(wire.BusinessResponse, answer)
        if response.HasField("revocation"):
            raise CommandRejected(f"Command revoked: {response.revocation.reason}")
        pages = numbering.new_pages(response.events, view)
        time_ns = self._pipeline.times.next_ns(call.cover, view)
        numbering.number(pages, view.next_sequence, cover=call.cover, time_ns=time_ns)
        return books.book_bytes(
            call.cover, books.encoded(pages), next_sequence=view.next_sequence + len(pages)
        )

    async def _view(self, call: Call, point: wire.TemporalQuery | None) -> View:
        kind = point.WhichOneof("point_in_time") if point else None
        if point is None or kind is None:
            return (await self._pipeline.load(call)).view
        events, cover, divergence = self._pipeline.events, call.cover, call.divergence
        if kind == "as_of_time":
            time_ns = validate.time_ns(point.as_of_time, "point_in_time.as_of_time")
            with storing("load events"):
                book = await events.load_until(cover, time_ns, divergence=divergence)
        elif kind == "as_of_position":
            with storing("load events"):
                position = point.as_of_position
                stop = await events.length_at(cover, position, divergence=divergence)
                book = await events.load(cover, stop=stop, divergence=divergence)
        else:
            last = point.as_of_sequence
            with storing("load events"):
                book = await events.load(cover, stop=last + 1, divergence=divergence)
            if last >= book.next_sequence:
                raise InvalidInput(
                    "point_in_time.as_of_sequence", f"below {book.next_sequence}", last
                )
        with storing("load events"):
            # The state's own end is what new pages follow.
            end = wire.EventBook.FromString(book.data).next_sequence
            return await self._pipeline.view(replace(book, next_sequence=end), call)
