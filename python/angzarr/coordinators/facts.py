"""Facts: events that happened elsewhere, recorded without asking anyone (FACT-1 to FACT-8)."""

from __future__ import annotations

from dataclasses import dataclass

from angzarr import wire
from angzarr.coordinators import books, numbering, provenance, validate
from angzarr.coordinators.pipeline import Call, Pipeline, storing
from angzarr.coordinators.slots import Component
from angzarr.cover import FACT, Cover
from angzarr.errors import InvalidInput, SequenceConflict
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import Accepted

_NO_MARKERS = "Fact events must have ExternalDeferredSequence markers"


@dataclass(frozen=True, slots=True)
class _Fact:
    """A checked request. At most one of call.provenance and external_id is its key."""

    call: Call
    events: wire.EventBook
    external_id: str


class Facts:
    """Records facts over a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def record(
        self, events: wire.EventBook, cover: Cover, component: Component, context: CallContext
    ) -> tuple[bytes, bool]:
        """Append the pages of a checked book; the encoded EventBook of them, and whether they were
        known already.
        """
        fact = _read(events, cover, component, context)

        async def attempt() -> tuple[bytes, bool]:
            accepted = await self._accepted(fact)
            if accepted is not None:
                return _book(cover, accepted.pages), True
            return await self._append(fact), False

        try:
            return await self._pipeline.attempts(context, attempt)
        except SequenceConflict as conflict:
            raise SequenceConflict(
                cover,
                conflict.expected,
                conflict.actual,
                f"Sequence conflict: expected {conflict.expected}, got {conflict.actual}",
                book=await self._pipeline.detail(fact.call),
            ) from None

    async def _accepted(self, fact: _Fact) -> Accepted | None:
        if fact.external_id:
            with storing("load events"):
                return await self._pipeline.events.find_by_external_id(
                    fact.call.cover, fact.external_id
                )
        return await self._pipeline.accepted(fact.call)

    async def _append(self, fact: _Fact) -> bytes:
        call, times = fact.call, self._pipeline.times
        loaded = await self._pipeline.load_end(call)
        first = loaded.view.next_sequence
        time_ns = times.next_ns(call.cover, loaded.view)
        # Numbered on a copy: after a race the same pages are numbered again.
        pages = wire.EventBook(pages=fact.events.pages).pages
        is_dated = numbering.number(pages, first, cover=call.cover, time_ns=time_ns)
        encoded = books.encoded(pages)
        await self._pipeline.append(call, loaded, encoded, external_id=fact.external_id)
        if is_dated:
            times.dated(call.cover, time_ns)
        return _book(call.cover, tuple(encoded))


def _read(
    events: wire.EventBook, cover: Cover, component: Component, context: CallContext
) -> _Fact:
    headers = [page.header for page in events.pages]
    kinds = [header.WhichOneof("sequence_type") for header in headers]
    if "external_deferred" not in kinds and "angzarr_deferred" not in kinds:
        raise InvalidInput("events.pages.header", "deferred on one page", "none", _NO_MARKERS)
    external_id = ""
    origin = None
    if kinds[0] == "external_deferred":
        external_id = headers[0].external_deferred.external_id
    if not external_id and "angzarr_deferred" in kinds:
        header = headers[kinds.index("angzarr_deferred")]
        origin = provenance.provenance_of(header, events.pages, context, kind=FACT)
    call = Call(
        cover=cover,
        component=component,
        command=wire.CommandBook(),
        context=context,
        divergence=validate.divergence(events.cover),
        is_deferred=True,
        provenance=origin,
    )
    return _Fact(call, events, external_id)


def _book(cover: Cover, pages: tuple[bytes, ...]) -> bytes:
    last = wire.EventPage.FromString(pages[-1])
    return books.book_bytes(cover, pages, next_sequence=last.header.sequence + 1)
