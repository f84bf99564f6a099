"""ProjectorCoordinatorService: callers' books to the projectors that this process answers for
(PROJ-7, PROJ-8).

Requests and answers are encoded messages of the 0.3 protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.chosen import meant, unnamed
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, InvalidInput, ProjectorFailed, ProjectorReplaying
from angzarr.ports.components import CallContext


class Turns(Protocol):
    """Turns at streams, shared with the log's deliveries."""

    def alone(self, consumer: str, cover: Cover) -> AbstractAsyncContextManager[None]:
        """Be the only one to work on the stream for the consumer."""
        ...


class Projector(Protocol):
    """A projector's coordinator, or one elsewhere. component: `projector:<name>`. consumer: whose
    turn is taken. is_elsewhere: whether another process says what it has failed of.
    """

    @property
    def component(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def consumer(self) -> str: ...
    @property
    def is_elsewhere(self) -> bool: ...
    def wants(self, cover: Cover) -> bool:
        """Whether it is for a stream."""
        ...

    async def project(self, book: bytes, context: CallContext) -> bytes | None:
        """Apply an EventBook; the encoded Projection, None where nothing was new."""
        ...

    async def speculate(self, book: bytes, context: CallContext) -> bytes:
        """The encoded Projection that an EventBook would lead to."""
        ...


class ProjectorService:
    """Serves the projectors in the given order; the first subscribed one is who answers."""

    def __init__(self, projectors: Sequence[Projector], turns: Turns) -> None:
        self._projectors = {projector.component: projector for projector in projectors}
        self._turns = turns

    async def handle_sync(self, request: bytes, context: CallContext) -> bytes:
        """EventRequest → the Projection of the first subscribed projector, when all have applied
        the book; only a cover where none is subscribed.

        Raises InvalidInput, ProjectorReplaying, ProjectorFailed.
        """
        message = books.parse(wire.EventRequest, request)
        if not message.HasField("events"):
            raise InvalidInput("events", "present", "none", "EventRequest must have events")
        book = message.events
        answers = await self._apply(book, context)
        if not answers:
            return wire.Projection(cover=book.cover).SerializeToString()
        first, projection = answers[0]
        if projection is None:  # nothing in it was new
            projection = wire.Projection(cover=book.cover, projector=first.name).SerializeToString()
        return projection

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """EventBook → Empty, when all subscribed projectors have applied the book.

        Raises InvalidInput, ProjectorReplaying, ProjectorFailed, so that the sender sends it again.
        """
        await self._apply(books.parse(wire.EventBook, request), context)
        return b""

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateProjectorRequest → the Projection that the first subscribed projector would
        make; only a cover where none is subscribed. Nothing is changed.

        Raises InvalidInput, ProjectorFailed, RemoteError UNIMPLEMENTED with the projector's name.
        """
        message = books.parse(wire.SpeculateProjectorRequest, request)
        if not message.HasField("events"):
            raise InvalidInput(
                "events", "present", "none", "SpeculateProjectorRequest must have events"
            )
        book = message.events
        subscribed = self._subscribed(validate.cover(book.cover), context)
        if not subscribed:
            return wire.Projection(cover=book.cover).SerializeToString()
        return await subscribed[0].speculate(book.SerializeToString(), unnamed(context))

    async def _apply(
        self, book: wire.EventBook, context: CallContext
    ) -> list[tuple[Projector, bytes | None]]:
        """All subscribed projectors with their answers; the first error when all are done."""
        cover = validate.cover(book.cover)
        for index, page in enumerate(book.pages):
            if page.header.WhichOneof("sequence_type") != "sequence":
                raise InvalidInput(f"pages[{index}].header.sequence", "present", "none")
        data = book.SerializeToString()
        subscribed = self._subscribed(cover, context)
        answers = await asyncio.gather(
            *(self._project(item, cover, data, unnamed(context)) for item in subscribed),
            return_exceptions=True,
        )
        done: list[tuple[Projector, bytes | None]] = []
        for item, answer in zip(subscribed, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            done.append((item, answer))
        return done

    async def _project(
        self, projector: Projector, cover: Cover, book: bytes, context: CallContext
    ) -> bytes | None:
        async with self._turns.alone(projector.consumer, cover):
            try:
                return await projector.project(book, context)
            except ProjectorReplaying:
                raise
            except AngzarrError as error:
                if projector.is_elsewhere:
                    raise
                raise ProjectorFailed(projector.name, str(error)) from error

    def _subscribed(self, cover: Cover, context: CallContext) -> list[Projector]:
        return [item for item in meant(self._projectors, context) if item.wants(cover)]
