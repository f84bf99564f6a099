"""Sagas and process managers in other processes, as the published client serves them (DEP-3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.cover import root_of
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext, Subscription
from angzarr.rpc.remote import Endpoint

SAGA: Final = "/angzarr.SagaService/Handle"
PROCESS_MANAGER: Final = "/angzarr.ProcessManagerService/"

SOURCE_ROOT: Final = "source_root"
CORRELATION: Final = "correlation"
ROUTINGS: Final = (SOURCE_ROOT, CORRELATION)
"""What configuration may say of an output domain's root (SAGA-1)."""


class RemoteSaga:
    """A saga in another process; `ports.components.Saga` over gRPC.

    name: `saga:<name>`. What it is fed and where it sends is configured here, since it can't be
    asked. routing: per output domain one of ROUTINGS; `source_root`, also where nothing is said.
    Raises InvalidInput for another value, and for a domain that is none of `targets`.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        subscriptions: tuple[Subscription, ...],
        targets: tuple[str, ...] = (),
        routing: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.subscriptions = subscriptions
        self.targets = targets
        self._routing = dict(routing or {})
        for domain, value in self._routing.items():
            field = f"{name}.routing.{domain}"
            if value not in ROUTINGS:
                raise InvalidInput(field, f"one of {', '.join(ROUTINGS)}", value)
            if targets and domain not in targets:
                raise InvalidInput(field, f"for one of its targets ({', '.join(targets)})", domain)

    def routed(self, domain: str, source: bytes) -> bytes | None:
        """For `correlation` the root that the source's correlation id makes (PM-2); None without an
        id, and for `source_root`.
        """
        if self._routing.get(domain) != CORRELATION:
            return None
        try:
            correlation_id = wire.EventBook.FromString(source).cover.correlation_id
        except DecodeError as error:
            raise InvalidInput("source", "an encoded EventBook", error) from error
        return root_of(correlation_id) if correlation_id else None

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """SagaHandleRequest → SagaResponse."""
        return await self.endpoint.unary(SAGA, request, context)

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        """It has no say in what was rejected: its service has no method for that (COMP-13)."""
        return None


class RemoteProcessManager:
    """A process manager in another process; `ports.components.ProcessManager` over gRPC.

    name: `process_manager:<name>`. domain: of its state streams.
    """

    def __init__(
        self,
        name: str,
        domain: str,
        endpoint: Endpoint,
        subscriptions: tuple[Subscription, ...],
        targets: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.domain = domain
        self.endpoint = endpoint
        self.subscriptions = subscriptions
        self.targets = targets

    async def prepare(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerPrepareRequest → ProcessManagerPrepareResponse. RemoteError UNIMPLEMENTED
        where it has none."""
        return await self.endpoint.unary(PROCESS_MANAGER + "Prepare", request, context)

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerHandleRequest → ProcessManagerHandleResponse."""
        return await self.endpoint.unary(PROCESS_MANAGER + "Handle", request, context)

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        """Its service has no method for that: notifications go to the command handler of its
        domain, where there is one (PM-12).
        """
        return None
