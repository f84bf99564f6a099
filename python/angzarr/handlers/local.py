"""An aggregate class behind the CommandHandler port, in this process."""

from __future__ import annotations

import inspect
from typing import Any as Untyped
from typing import cast

from angzarr import codec, wire
from angzarr.errors import AngzarrError, InvalidInput
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.notifications import (
    NOTIFICATION,
    Compensation,
    Revocation,
    read_notification,
)
from angzarr.handlers.requests import parse
from angzarr.handlers.state import diff_states
from angzarr.handlers.table import HandlerTable
from angzarr.ports.components import CallContext


class LocalCommandHandler:
    """Runs an aggregate's methods on encoded messages: ports.components.CommandHandler."""

    is_local = True

    def __init__(self, cls: type[Aggregate]) -> None:
        self.table: HandlerTable = cls.table()

    @property
    def name(self) -> str:
        """`aggregate:<domain>`."""
        return self.table.component

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ContextualCommand → BusinessResponse.

        The pages of a command are decided on in order, each on the state that the earlier ones
        left. New pages have no header: the coordinator numbers them. Raises CommandRejected,
        InvalidInput for an unknown command or one that does not parse, CorruptData for a stored
        page or snapshot that does not, HandlerFailed for any other exception of the user's code.
        """
        contextual = parse(wire.ContextualCommand, request, "command")
        response = await self.decide(contextual.events, contextual.command, context)
        return response.SerializeToString()

    async def decide(
        self, events: wire.EventBook, command: wire.CommandBook, context: CallContext
    ) -> wire.BusinessResponse:
        """The same on messages: ports.components.Deciding. Raises as `handle`."""
        snapshot = events.snapshot if events.HasField("snapshot") else None
        state = self.table.load(snapshot, events.pages)
        response = wire.BusinessResponse()
        pages = response.events.pages
        for page in command.pages:
            answer = await self._decide(state, page)
            if isinstance(answer, Revocation):
                return wire.BusinessResponse(revocation=answer.message())
            if answer is None:
                continue
            for event in cast("tuple[object, ...]", answer if _is_many(answer) else (answer,)):
                stored = pages.add().event
                stored.type_url, stored.value = self.table.record(state, event)
        if not pages and not _is_notification(command):
            response.events.SetInParent()
        return response

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        """ReplayRequest → ReplayResponse with the state after the request's pages.

        Raises CorruptData or HandlerFailed as `handle` does, HandlerFailed for a state that its
        own annotations exclude.
        """
        wanted = parse(wire.ReplayRequest, request, "replay")
        base = wanted.base_snapshot if wanted.HasField("base_snapshot") else None
        state = self.table.load(base, wanted.events)
        response = wire.ReplayResponse()
        response.state.type_url = self.table.states.type_url
        try:
            response.state.value = self.table.states.encode(state)
        except (TypeError, ValueError) as error:
            raise self.table.failed("encoding the state", error) from error
        return response.SerializeToString()

    def diff(self, before: bytes, after: bytes) -> frozenset[str]:
        """Top-level fields that differ between two encoded Any states; b"" is an empty stream's."""
        return diff_states(self.table.states, before, after, self.table.initial())

    async def _decide(self, state: Untyped, page: wire.CommandPage) -> object:
        if page.HasField("external"):
            raise InvalidInput("pages.external", "resolved before the handler", page.external.uri)
        command = page.command
        method = self.table.command_named(command.type_url)
        if method is not None:
            return await self._call(
                method.function, state, method.payload.read_command(command.value), method.name
            )
        name = codec.full_name(command.type_url)
        if name == NOTIFICATION:
            return await self._notified(state, command.value)
        known = ", ".join(sorted(self.table.commands)) or "none"
        raise InvalidInput(
            "pages.command.type_url",
            f"one of {known}",
            name,
            f"domain {self.table.domain} has no command {name or '(no type)'}; it has: {known}",
        )

    async def _notified(self, state: Untyped, value: bytes) -> object:
        """The answer to a Notification; None, an empty one, where no method is for it."""
        told = read_notification(value)
        if isinstance(told, wire.RejectionNotification):
            found = self.table.rejections.find(told)
            if found is not None:
                method, rejection = found
                return await self._call(method, state, rejection, "@rejected")
        elif told is not None and self.table.compensation is not None:
            compensation = Compensation(tuple(told.sequences), told.reason)
            return await self._call(self.table.compensation, state, compensation, "@compensates")
        return None

    async def _call(self, function: Untyped, state: Untyped, payload: object, name: str) -> object:
        try:
            answer = function(state, payload)
            return await answer if inspect.isawaitable(answer) else answer
        except AngzarrError:
            raise
        except Exception as error:
            raise self.table.failed(name, error) from error


def _is_many(answer: object) -> bool:
    return isinstance(answer, list | tuple)


def _is_notification(command: wire.CommandBook) -> bool:
    return any(codec.full_name(page.command.type_url) == NOTIFICATION for page in command.pages)
