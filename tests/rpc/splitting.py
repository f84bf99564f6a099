"""The world of orders, shipments and ledgers with its sagas, process managers and projectors in a
process of their own: two servers on loopback, that meet over gRPC alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from angzarr import errors
from angzarr.coordinators.turns import Turns
from angzarr.ports.components import CallContext
from angzarr.rpc.reactions import reaction_rpcs
from angzarr.rpc.remote import Endpoint, RemoteCoordinator
from angzarr.rpc.remote_components import RemoteProjection, RemoteReaction
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.status import DETAILS, KIND, error_of

from ..coordinators.syncing import Sends, World


class SplitWorld(World):
    """`commands` is the process of the aggregates; `turns` and `deliver` are of the other one.

    What a saga or projector is told to do is done there. front, back: their servers.
    """

    def __init__(self) -> None:
        self.hosted: dict[str, Any] = {}
        self.projecting: dict[str, Any] = {}
        self.there = Turns()
        super().__init__()

    async def start(self) -> None:
        """Listen."""
        options = ServerOptions(port=0, grace_s=0)
        self.front = Server(commands=_Late(self), options=options)
        self.to_front = Endpoint((await self.front.start())[0])
        rpcs = reaction_rpcs(self.hosted, self.there, self.projecting)
        self.back = Server(rpcs=rpcs, options=options)
        self.address = (await self.back.start())[0]
        self.to_back = Endpoint(self.address)

    def restart(self) -> None:
        super().restart()
        self.turns = self.there

    def near(self, component: Any) -> Any:
        if not isinstance(component, Sends):
            self.projecting[component.name] = component
            return RemoteProjection(
                component.name,
                component.consumer,
                component.subscriptions,
                component.is_synchronous,
                self.to_back,
                editions=component.editions,
            )
        component.world = _There(self)
        self.hosted[component.name] = component
        return RemoteReaction(
            component.name, component.consumer, component.subscriptions, self.to_back
        )

    async def close(self) -> None:
        await asyncio.gather(self.to_front.close(), self.to_back.close())
        await asyncio.gather(self.front.stop(), self.back.stop())
        await super().close()


class _Late:
    """The coordinator that the world has at the time."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        async def call(request: bytes, context: CallContext) -> bytes:
            return await getattr(self._world.commands, name)(request, context)

        return call


class _There:
    """The world as it is in the other process: commands go over the wire."""

    def __init__(self, world: SplitWorld) -> None:
        self._world = world

    @property
    def commands(self) -> Any:
        return _Typed(RemoteCoordinator(self._world.to_front))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


class _Typed:
    """A coordinator elsewhere, its errors as the classes that `Sends` knows."""

    def __init__(self, to: RemoteCoordinator) -> None:
        self._to = to

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        return await self._known(self._to.handle_command(request, context))

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        return await self._known(self._to.handle_event(request, context))

    async def _known(self, call: Any) -> bytes:
        try:
            return await call
        except errors.RemoteError as error:
            trailers = ((KIND, error.error_kind), (DETAILS, error.details))
            raise error_of(error.code, error.message, trailers) from error
