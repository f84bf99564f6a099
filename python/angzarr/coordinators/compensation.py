"""Notifications of rejected commands and compensations, given to the aggregate that caused them
(CMD-41).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators import books, provenance, validate
from angzarr.coordinators.pipeline import Call, Loaded, Pipeline, Written
from angzarr.coordinators.slots import Component
from angzarr.cover import COMPENSATE, REJECTION, Cover
from angzarr.errors import AngzarrError, SequenceConflict
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import ANSWER_BYTES_MAX, Accepted

Decide = Callable[[Call, Loaded, wire.EventBook, bytes], Awaitable[Written]]


class Compensations:
    """Runs them over a pipeline. decide: appends what the handler answered."""

    def __init__(self, pipeline: Pipeline, decide: Decide) -> None:
        self._pipeline = pipeline
        self._decide = decide

    async def run(
        self,
        command: wire.CommandBook,
        cover: Cover,
        component: Component,
        *,
        cascade_id: str,
        context: CallContext,
    ) -> bytes:
        """The handler's BusinessResponse as it gave it, now or at the first delivery."""
        header = command.pages[0].header if command.pages else wire.PageHeader()
        kind = provenance.kind_of_metadata(context, _kind_of(command))
        call = Call(
            cover=cover,
            component=component,
            command=command,
            context=context,
            divergence=validate.divergence(command.cover),
            cascade_id=cascade_id,
            is_deferred=header.WhichOneof("sequence_type")
            in ("angzarr_deferred", "external_deferred"),
            provenance=provenance.provenance_of(header, command.pages, context, kind=kind),
        )

        async def attempt() -> bytes:
            accepted = await self._pipeline.accepted(call)
            if accepted is not None:
                return _kept(call, accepted)
            await self._pipeline.refuse_decided(cascade_id)
            try:
                return await self._attempt(call)
            except AngzarrError as refusal:
                if (known := await self._pipeline.overtaken(call, refusal)) is not None:
                    return _kept(call, known)
                raise

        try:
            return await self._pipeline.attempts(context, attempt)
        except SequenceConflict as conflict:
            raise SequenceConflict(
                cover,
                conflict.expected,
                conflict.actual,
                f"Sequence conflict: expected {conflict.expected}, got {conflict.actual}",
                book=await self._pipeline.detail(call),
            ) from None

    async def _attempt(self, call: Call) -> bytes:
        return await self._pipeline.loaded(call, partial(self._on, call))

    async def _on(self, call: Call, loaded: Loaded) -> bytes:
        answer = await self._pipeline.ask(call, loaded.view)
        response = books.parse(wire.BusinessResponse, answer)
        # An answer too long to be kept is rebuilt from its events, which are kept anyway.
        kept = answer if len(answer) <= ANSWER_BYTES_MAX else b""
        await self._decide(call, loaded, response.events, kept)
        return answer


def _kept(call: Call, accepted: Accepted) -> bytes:
    if accepted.answer or not accepted.pages:
        return accepted.answer
    last = wire.EventPage.FromString(accepted.pages[-1])
    book = books.book_bytes(call.cover, accepted.pages, next_sequence=last.header.sequence + 1)
    return books.frame(books.TAG_1, book)


def _kind_of(command: wire.CommandBook) -> int:
    """What the notification in the command tells of, where no metadata says it."""
    for page in command.pages:
        if books.full_name(page.command.type_url) != "angzarr.Notification":
            continue
        try:
            notification = wire.Notification.FromString(page.command.value)
        except DecodeError:
            return REJECTION  # the handler is the one to refuse it
        if books.full_name(notification.payload.type_url) == "angzarr.Compensate":
            return COMPENSATE
    return REJECTION
