"""ReactionService: sagas, process managers and projectors of this process for the requests of
another one (SYNC-10, PROJ-16, DEP-12).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from google.protobuf.message import Message

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.flow import Outcome
from angzarr.coordinators.saga import flow_of
from angzarr.coordinators.subscriptions import Filter
from angzarr.coordinators.sync_projectors import Projecting
from angzarr.coordinators.synchronous import Reacting
from angzarr.coordinators.turns import Turns
from angzarr.errors import AngzarrError, InvalidInput, RemoteError
from angzarr.ports.components import CallContext
from angzarr.rpc import outcomes
from angzarr.rpc.services import Rpc

REACTIONS: Final = "angzarr.ReactionService"

M = TypeVar("M", bound=Message)
C = TypeVar("C")

_log = logging.getLogger(__name__)
_NOTHING: Final[Mapping[str, Projecting]] = {}


def reaction_rpcs(
    components: Mapping[str, Reacting],
    turns: Turns,
    projectors: Mapping[str, Projecting] = _NOTHING,
) -> tuple[Rpc, ...]:
    """The methods of ReactionService.

    components: by `saga:<name>` and `process_manager:<name>`. projectors: by `projector:<name>`.
    turns: shared with what the log delivers to them here.
    """
    service = _Service(components, turns, projectors)
    return (
        Rpc(service=REACTIONS, method="React", unary=service.react),
        Rpc(service=REACTIONS, method="Attend", both=service.attend),
        Rpc(service=REACTIONS, method="Project", both=service.project),
    )


class _Service:
    def __init__(
        self,
        components: Mapping[str, Reacting],
        turns: Turns,
        projectors: Mapping[str, Projecting],
    ) -> None:
        self._components = components
        self._filters: dict[str, Filter] = {}
        self._turns = turns
        self._projectors = projectors

    async def react(self, request: bytes, context: CallContext) -> bytes:
        """ReactRequest → ReactResponse. Raises InvalidInput, StoreUnavailable as Reacting.react."""
        asked = books.parse(wire.ReactRequest, request)
        reaction = _known(self._components, asked.component)
        cover = validate.cover(asked.book.cover)
        cascade_id = validate.cascade_id(asked.cascade_id)
        flow = flow_of(asked.sync_mode, asked.cascade_error_mode, context)
        # The caller may know other subscriptions, while one of the processes is being replaced.
        wanted = self._filter(reaction).book(asked.book.SerializeToString())
        if wanted is None:
            return outcomes.encoded(Outcome())
        first = asked.book.pages[0].header.sequence
        async with self._turns.book(reaction.consumer, cover, first):
            outcome = await reaction.react(wanted, replace(flow, cascade_id=cascade_id))
        return outcomes.encoded(outcome)

    async def attend(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        """AttendRequests → one AttendResponse, when the intent holds. Raises InvalidInput."""
        asked = await _first(wire.AttendRequest, requests)
        reaction = _known(self._components, asked.component)
        cover = validate.cover(asked.cover)
        async with self._turns.intend([reaction.consumer], cover) as intent:
            yield wire.AttendResponse().SerializeToString()
            async for request in requests:
                written = books.parse(wire.AttendRequest, request).written
                intent.wrote(written.lower, written.upper)

    async def project(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        """ProjectRequests → a ProjectResponse each. Raises InvalidInput, and what the projector
        raises.
        """
        asked = await _first(wire.ProjectRequest, requests)
        projector = _known(self._projectors, asked.component)
        cover = validate.cover(asked.cover)
        async with self._turns.alone(projector.consumer, cover):
            yield wire.ProjectResponse().SerializeToString()
            async for request in requests:
                book = books.parse(wire.ProjectRequest, request).book
                if validate.cover(book.cover).stream != cover.stream:
                    raise InvalidInput("book.cover", f"of the stream {cover}", book.cover)
                made = await _projected(projector, book.SerializeToString(), context)
                yield b"" if made is None else books.frame(books.TAG_1, made)

    def _filter(self, reaction: Reacting) -> Filter:
        found = self._filters.get(reaction.name)
        if found is None:
            found = self._filters[reaction.name] = Filter(reaction.subscriptions)
        return found


async def _projected(projector: Projecting, book: bytes, context: CallContext) -> bytes | None:
    """As `project`; a defect has the text that it has in the projector's own process."""
    try:
        return await projector.project(book, context)
    except AngzarrError:
        raise
    except Exception as error:
        _log.exception("%s failed", projector.name)
        raise RemoteError("INTERNAL", str(error) or type(error).__name__) from error


async def _first(message: type[M], requests: AsyncIterator[bytes]) -> M:
    async for request in requests:
        return books.parse(message, request)
    raise InvalidInput("request", f"a first {message.DESCRIPTOR.name}", "none")


def _known(components: Mapping[str, C], name: str) -> C:
    found = components.get(name)
    if found is None:
        known = ", ".join(sorted(components)) or "none"
        raise InvalidInput("component", f"one of those that run here: {known}", name)
    return found
