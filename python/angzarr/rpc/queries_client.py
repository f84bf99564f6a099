"""The EventQueryService of another coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from angzarr.ports.components import CallContext
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.services import QUERIES

GET_EVENTS: Final = f"/{QUERIES}/GetEvents"


class RemoteQueries:
    """Queries over gRPC, as `coordinators.destinations.Queries` has them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def get_events(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """Query → EventBooks. Raises RemoteError with what the peer answered."""
        return self.endpoint.stream(GET_EVENTS, request, context)
