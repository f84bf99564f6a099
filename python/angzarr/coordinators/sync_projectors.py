"""Synchronous projectors within a request (SYNC-2, PROJ-7, PROJ-16)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Protocol

from angzarr import wire
from angzarr.coordinators import names
from angzarr.coordinators.elsewhere import TakingTurns
from angzarr.coordinators.subscriptions import Filter, editions_of
from angzarr.coordinators.turns import Turns
from angzarr.cover import Cover
from angzarr.errors import AngzarrError
from angzarr.ports.components import CallContext, Subscription
from angzarr.ports.event_store import EventStore

PROJECTOR = "projector"

_log = logging.getLogger(__name__)


class Projecting(Protocol):
    """A projector as requests use it."""

    @property
    def name(self) -> str:
        """`projector:<name>`."""
        ...

    @property
    def consumer(self) -> str:
        """What its positions are kept under."""
        ...

    @property
    def subscriptions(self) -> tuple[Subscription, ...]: ...

    @property
    def editions(self) -> tuple[str, ...] | None:
        """Whose events it is given; None is every one's."""
        ...

    @property
    def is_synchronous(self) -> bool: ...

    async def project(self, book: bytes, context: CallContext) -> bytes | None:
        """EventBook of visible pages → Projection, None where nothing was new to it. What it
        raises, the log's delivery meets again.
        """
        ...


class Projectors:
    """Those of a process that are synchronous."""

    def __init__(self, turns: Turns, events: EventStore) -> None:
        self._turns = turns
        self._events = events
        self._all: list[tuple[Projecting, Filter, frozenset[str] | None]] = []
        self._elsewhere: dict[str, TakingTurns] = {}

    def add(self, projector: Projecting) -> None:
        """Run it in requests, if it is synchronous."""
        if projector.is_synchronous:
            editions = editions_of(projector.editions)
            self._all.append((projector, Filter(projector.subscriptions), editions))
            if isinstance(projector, TakingTurns):
                self._elsewhere[projector.consumer] = projector

    def of(self, cover: Cover) -> list[Projecting]:
        """Those that a stream is for, by domain and edition, in the order that they were added."""
        return [
            projector
            for projector, wanted, editions in self._all
            if wanted.wants(cover.domain) and (editions is None or cover.edition in editions)
        ]

    async def take_turns(
        self, stack: AsyncExitStack, covers: Iterable[Cover], context: CallContext
    ) -> None:
        """Take the turns at the streams for their projectors, here and where these run; `stack`
        gives them back. context: the request's.

        They are taken in one order, whoever asks, so that nobody waits in a circle.
        """
        wanted = {
            (projector.consumer, cover.stream): cover
            for cover in covers
            for projector in self.of(cover)
        }
        for (consumer, _), cover in sorted(wanted.items(), key=lambda item: item[0]):
            await stack.enter_async_context(self._turns.alone(consumer, cover))
            if consumer in self._elsewhere:
                turn = self._elsewhere[consumer].turn(cover, context)
                await stack.enter_async_context(turn)

    async def run(
        self, cover: Cover, book: wire.EventBook, context: CallContext
    ) -> tuple[list[bytes], list[wire.CascadeError]]:
        """Projections of the book's pages, and an error for each projector that failed.

        Pages from the stream's first undecided one on are left to the log, which holds them back,
        too: a projector that had passed that one would never see it (CAS-9, CAS-10).
        """
        projectors = self.of(cover)
        if not projectors or not book.pages:
            return [], []
        pages = await self._published(cover, book.pages)
        if not pages:
            return [], []
        if len(pages) < len(book.pages):
            book = wire.EventBook(cover=book.cover, pages=pages)
            book.next_sequence = pages[-1].header.sequence + 1
        data = book.SerializeToString(deterministic=True)
        projections: list[bytes] = []
        errors: list[wire.CascadeError] = []
        for projector in projectors:
            try:
                projection = await projector.project(data, context)
            except Exception as error:
                is_defect = not isinstance(error, AngzarrError)
                _log.warning("%s failed: %s", projector.name, error, exc_info=is_defect)
                errors.append(cascade_error(projector.name, PROJECTOR, error, cover.domain))
            else:
                projections += [] if projection is None else [projection]
        return projections, errors

    async def _published(
        self, cover: Cover, pages: Sequence[wire.EventPage]
    ) -> Sequence[wire.EventPage]:
        pending = await self._events.pending(cover)
        if not pending:
            return pages
        return [page for page in pages if page.header.sequence < pending[0].sequence]


def cascade_error(
    name: str, component_type: str, error: Exception, domain: str
) -> wire.CascadeError:
    """What an answer says of a component that failed; domain: of the pages that it was given."""
    return wire.CascadeError(
        component_name=names.bare(name),
        component_type=component_type,
        error_message=str(error) or type(error).__name__,
        source_domain=domain,
    )
