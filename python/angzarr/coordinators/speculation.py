"""What would happen: a command decided on some state, and nothing kept (SPEC-1 to SPEC-4)."""

from __future__ import annotations

from functools import partial

from angzarr import wire
from angzarr.coordinators import books, numbering
from angzarr.coordinators.external import External
from angzarr.coordinators.past import Past
from angzarr.coordinators.pipeline import Call, Pipeline
from angzarr.coordinators.views import View
from angzarr.errors import CommandRejected


class Speculation:
    """Decides over a pipeline without appending."""

    def __init__(self, pipeline: Pipeline, past: Past, external: External) -> None:
        self._pipeline = pipeline
        self._past = past
        self._external = external

    async def run(self, call: Call, point: wire.TemporalQuery | None) -> bytes:
        """The EventBook that the call would lead to, encoded; `point` None is the latest state."""
        await self._external.resolve(call.command, call.component.name, keeps_letters=False)
        return await self._past.seen(call, point, partial(self._on, call), is_within=True)

    async def _on(self, call: Call, view: View) -> bytes:
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
