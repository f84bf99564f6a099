"""Commands to domains whose coordinator is in another process (DEP-4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.ports.components import CallContext


class Commands(Protocol):
    """What answers CommandHandlerCoordinatorService."""

    async def handle_command(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_event(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes: ...


class Histories(Protocol):
    """What answers HistoryService."""

    async def get_state(self, request: bytes, context: CallContext) -> bytes: ...
    async def get_position(self, request: bytes, context: CallContext) -> bytes: ...


class Elsewhere(Commands, Protocol):
    """A coordinator in another process."""

    async def get_state(self, request: bytes, context: CallContext) -> bytes: ...


class RoutedHistory:
    """Asks the coordinator elsewhere for the states of its domains; the rest is `local`'s."""

    def __init__(self, local: Histories, elsewhere: Mapping[str, Elsewhere]) -> None:
        self._local = local
        self._elsewhere = elsewhere

    async def get_state(self, request: bytes, context: CallContext) -> bytes:
        """Query → StateResponse."""
        try:
            domain = wire.Query.FromString(request).cover.domain
        except DecodeError:
            domain = ""
        return await self._elsewhere.get(domain, self._local).get_state(request, context)

    async def get_position(self, request: bytes, context: CallContext) -> bytes:
        """GetPositionRequest → LogPosition: of this process's store."""
        return await self._local.get_position(request, context)


class RoutedCommands:
    """Forwards what is addressed to a domain of `remote` as it came; the rest is `local`'s.

    The address is parsed for this alone, so a process without forwarding does not pay for it. A
    message that does not parse is left to `local`, which says what is wrong with it.
    """

    def __init__(self, local: Commands, remote: Mapping[str, Commands]) -> None:
        self._local = local
        self._remote = remote

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → CommandResponse."""
        return await self._at(wire.CommandRequest, request).handle_command(request, context)

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        """EventRequest → FactInjectionResponse."""
        return await self._at(wire.EventRequest, request).handle_event(request, context)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateCommandHandlerRequest → CommandResponse."""
        at = self._at(wire.SpeculateCommandHandlerRequest, request)
        return await at.handle_speculative(request, context)

    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → BusinessResponse."""
        return await self._at(wire.CommandRequest, request).handle_compensation(request, context)

    def _at(self, cls: type[_Request], request: bytes) -> Commands:
        try:
            message = cls.FromString(request)
        except DecodeError:
            return self._local
        book = message.events if isinstance(message, wire.EventRequest) else message.command
        return self._remote.get(book.cover.domain, self._local)


_Request = wire.CommandRequest | wire.EventRequest | wire.SpeculateCommandHandlerRequest
