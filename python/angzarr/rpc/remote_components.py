"""Components of ours that run in another process, for the requests of this one (ReactionService).

A saga, process manager or projector that was moved to a process of its own takes part in SIMPLE and
CASCADE requests as it did before (DEP-12).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators import books, names
from angzarr.coordinators.elsewhere import Attendance
from angzarr.coordinators.entries import cover_in
from angzarr.coordinators.flow import Flow, Outcome
from angzarr.coordinators.reaction import modes_bytes
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, ReactionUnknown, RemoteError, StoreUnavailable
from angzarr.ports.components import CallContext, Subscription
from angzarr.rpc import outcomes
from angzarr.rpc.conversations import Conversation
from angzarr.rpc.reactions import REACTIONS
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.status import KIND, error_of

REACT: Final = f"/{REACTIONS}/React"
ATTEND: Final = f"/{REACTIONS}/Attend"
PROJECT: Final = f"/{REACTIONS}/Project"

_CASCADE_TAG: Final = b"\x22"
_COMPONENT_TAG: Final = b"\x2a"

_log = logging.getLogger(__name__)


class RemoteReaction:
    """A saga or process manager in another process: `coordinators.synchronous.Reacting`.

    name: `saga:<name>` or `process_manager:<name>`. consumer: as there. endpoint: of a server with
    its ReactionService.
    """

    def __init__(
        self,
        name: str,
        consumer: str,
        subscriptions: tuple[Subscription, ...],
        endpoint: Endpoint,
    ) -> None:
        self.name = name
        self.consumer = consumer
        self.subscriptions = subscriptions
        self.endpoint = endpoint

    async def react(self, book: bytes, flow: Flow) -> Outcome:
        """As the port says; the outcome's errors are RemoteErrors, and its pages have no payloads.

        Raises RemoteError where the other process has not answered.
        """
        cascade_id = flow.cascade_id.encode()
        request = b"".join(
            (
                books.frame(books.TAG_1, book),
                modes_bytes(flow.sync_mode, flow.error_mode),
                books.frame(_CASCADE_TAG, cascade_id) if cascade_id else b"",
                books.frame(_COMPONENT_TAG, self.name.encode()),
            )
        )
        try:
            answer = await self.endpoint.unary(REACT, request, flow.context)
            return outcomes.decoded(answer)
        except RemoteError as error:
            raise self._failure(error, flow) from error

    def attend(self, cover: Cover, context: CallContext) -> AbstractAsyncContextManager[Attendance]:
        """As `coordinators.elsewhere.Attending` says."""
        return self._attend(cover, context)

    @asynccontextmanager
    async def _attend(self, cover: Cover, context: CallContext) -> AsyncGenerator[Attendance]:
        attendance = _Attendance(self.name, self.endpoint, cover, context)
        try:
            yield attendance
        finally:
            attendance.end()

    def _failure(self, error: RemoteError, flow: Flow) -> AngzarrError:
        """What a call without an outcome is raised as."""
        found = error_of(error.code, error.message, ((KIND, error.error_kind),))
        if isinstance(found, StoreUnavailable):
            return found  # a refusal could not be recorded (COMP-3)
        has_begun = error.error_kind != "invalid_input" and error.code != "UNIMPLEMENTED"
        if flow.has_to_be_undone and has_begun:
            return ReactionUnknown(names.label(self.name), error.message)
        return error


class RemoteProjection:
    """A projector in another process: `coordinators.sync_projectors.Projecting`.

    name: `projector:<name>`. consumer, editions: as there. endpoint: of a server with its
    ReactionService.
    """

    def __init__(
        self,
        name: str,
        consumer: str,
        subscriptions: tuple[Subscription, ...],
        is_synchronous: bool,
        endpoint: Endpoint,
        *,
        editions: tuple[str, ...] | None = ("main",),
    ) -> None:
        self.name = name
        self.consumer = consumer
        self.subscriptions = subscriptions
        self.editions = editions
        self.is_synchronous = is_synchronous
        self.endpoint = endpoint
        self._turns: dict[tuple[str, str, bytes], Conversation] = {}

    def turn(self, cover: Cover, context: CallContext) -> AbstractAsyncContextManager[None]:
        """As `coordinators.elsewhere.TakingTurns` says; the caller has the turn here already."""
        return self._turn(cover, context)

    async def project(self, book: bytes, context: CallContext) -> bytes | None:
        """As the port says, within the turn that is held, else within one of its own. Raises
        RemoteError with what the projector, or the way there, failed of.
        """
        cover = cover_in(book)
        held = self._turns.get(cover.stream)
        if held is not None:
            return await _project(held, self.name, book)
        conversation = self.endpoint.converse(PROJECT, context)
        try:
            await _begin(conversation, self.name, cover)
            return await _project(conversation, self.name, book)
        finally:
            conversation.cancel()

    @asynccontextmanager
    async def _turn(self, cover: Cover, context: CallContext) -> AsyncGenerator[None]:
        conversation: Conversation | None = None
        try:
            try:
                conversation = self.endpoint.converse(PROJECT, context)
                await _begin(conversation, self.name, cover)
                self._turns[cover.stream] = conversation
            except RemoteError as error:
                _log.info("no turn of %s at %s: %s", self.name, cover, error)
            yield
        finally:
            self._turns.pop(cover.stream, None)
            if conversation is not None:
                conversation.cancel()


class _Attendance:
    """A request's intent, held by an open call."""

    def __init__(self, name: str, endpoint: Endpoint, cover: Cover, context: CallContext) -> None:
        self._name = name
        self._cover = cover
        self._conversation: Conversation | None = None
        try:
            self._conversation = endpoint.converse(ATTEND, context)
        except RemoteError as error:
            self._give_up(error)

    async def holds(self) -> None:
        """As the port says."""
        if self._conversation is None:
            return
        try:
            await _begin(self._conversation, self._name, self._cover)
        except RemoteError as error:
            self._give_up(error)

    async def wrote(self, first: int, last: int) -> None:
        """As the port says."""
        if self._conversation is None:
            return
        if last < first:
            self.end()
            return
        written = wire.SequenceRange(lower=first, upper=last)
        try:
            await self._conversation.send(wire.AttendRequest(written=written).SerializeToString())
        except RemoteError as error:
            self._give_up(error)

    def end(self) -> None:
        """Let the log's deliveries go on. Idempotent."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.cancel()

    def _give_up(self, error: RemoteError) -> None:
        """Its process delivers what is written by itself, which may come first."""
        _log.info("%s has not heard of a request: %s", self._name, error)
        self.end()


async def _begin(conversation: Conversation, name: str, cover: Cover) -> None:
    """Name component and stream, and wait for the answer."""
    component = books.frame(books.TAG_1, name.encode())
    await conversation.send(component + books.frame(books.TAG_2, books.cover_bytes(cover)))
    if await conversation.receive() is None:
        raise _broken(name)


async def _project(conversation: Conversation, name: str, book: bytes) -> bytes | None:
    await conversation.send(books.frame(books.TAG_3, book))
    await conversation.finish()
    answer = await conversation.receive()
    if answer is None:
        raise _broken(name)
    await conversation.receive()  # its end, which comes with it: the turn is given back by then
    try:
        response = wire.ProjectResponse.FromString(answer)
    except DecodeError as error:
        raise RemoteError("INTERNAL", f"the answer is no ProjectResponse: {error}") from error
    if not response.HasField("projection"):
        return None
    return response.projection.SerializeToString(deterministic=True)


def _broken(name: str) -> RemoteError:
    return RemoteError("UNAVAILABLE", f"the process of {name} has ended the call")
