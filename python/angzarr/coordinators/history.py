"""Serves HistoryService: states of aggregates, and where the log ends (QRY-17, QRY-18)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.past import Past
from angzarr.coordinators.pipeline import Call, storing
from angzarr.coordinators.slots import Component
from angzarr.coordinators.views import View
from angzarr.cover import Cover
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import EventStore


class History:
    """Encoded messages in and out. component: of a cover's domain; raises UnknownDomain."""

    def __init__(
        self, events: EventStore, past: Past, component: Callable[[Cover], Component]
    ) -> None:
        self._events = events
        self._past = past
        self._component = component

    async def get_state(self, request: bytes, context: CallContext) -> bytes:
        """Query → StateResponse.

        Raises InvalidInput, UnknownDomain, StorageFailed, and what the handler does: RemoteError
        UNIMPLEMENTED for one without Replay.
        """
        query = books.parse(wire.Query, request)
        if query.WhichOneof("selection") not in (None, "temporal"):
            raise InvalidInput("selection", "temporal or none", query.WhichOneof("selection"))
        if query.cover.correlation_id:
            raise InvalidInput("cover.correlation_id", "none", query.cover.correlation_id)
        cover = validate.cover(query.cover)
        call = Call(
            cover=replace(cover, correlation_id=""),
            component=self._component(cover),
            command=wire.CommandBook(),
            context=context,
            divergence=validate.divergence(query.cover),
        )
        point = query.temporal if query.HasField("temporal") else None

        async def ask(view: View) -> tuple[bytes, int]:
            return await self._past.state(call, view), view.next_sequence

        state, following = await self._past.seen(call, point, ask)
        response = wire.StateResponse(next_sequence=following & books.UINT32_MASK)
        response.cover.ParseFromString(books.cover_bytes(call.cover))
        if state:
            response.state.ParseFromString(state)
        return response.SerializeToString()

    async def get_position(self, request: bytes, _context: CallContext) -> bytes:
        """GetPositionRequest → LogPosition."""
        books.parse(wire.GetPositionRequest, request)
        with storing("read the log's head"):
            head = await self._events.log_head()
        return wire.LogPosition(position=head).SerializeToString()
