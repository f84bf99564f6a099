"""The EditionService of another coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from angzarr.ports.components import CallContext
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.services import EDITIONS

DIFF: Final = f"/{EDITIONS}/Diff"
PROMOTE: Final = f"/{EDITIONS}/Promote"


class RemoteEditions:
    """Differences and promotions over gRPC, as `coordinators.editions.Elsewhere` has them.

    Both raise RemoteError with what the peer answered.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def diff(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """DiffEditionsRequest → StreamDifferences."""
        return self.endpoint.stream(DIFF, request, context)

    def promote(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """PromoteRequest → StreamPromotions."""
        return self.endpoint.stream(PROMOTE, request, context)
