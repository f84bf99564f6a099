"""An app behind a gRPC server; imported only where something listens (DEP-17)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Final

from angzarr.aggregates import tls_files
from angzarr.answering import answered, dead_letters
from angzarr.cover import Cover
from angzarr.errors import StorageFailed, StoreClosed, StoreUnavailable
from angzarr.parts import Parts
from angzarr.ports.components import CallContext
from angzarr.ports.stores import Stores
from angzarr.routing import Commands
from angzarr.rpc import sockets
from angzarr.rpc.admin import Admin
from angzarr.rpc.health import Health
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import Rpc, dlq_rpcs, edition_rpcs, history_rpcs, speculation_rpcs
from angzarr.rpc.store import StoreService

LOOK_S_MIN: Final = 0.1
LOOK_S_MAX: Final = 5.0
"""Between two looks for a store that is lost."""

_log: Final = logging.getLogger("angzarr")
_NO_STREAM: Final = Cover("_none", bytes(16))
"""Domains that begin so are reserved (CMD-5); this one is never written to."""


async def serve(
    parts: Parts, *, host: str | None = None, port: int | None = None, socket: Path | None = None
) -> Server:
    """Start a server for the app's selected components, by its configuration; the arguments win
    over that.

    port: 0 takes a free one. Raises InvalidInput for an address that is taken.
    """
    config = parts.config
    configured_host, configured_port = config.listen
    is_uds = config.transport.type == "uds"
    uds = config.transport.uds
    if socket is None and is_uds:
        base = Path(uds.base_path) if uds.base_path else None
        socket = sockets.socket_path(uds.service, uds.qualifier or _qualifier(parts), base)
    options = ServerOptions(
        host=host or configured_host,
        port=None if is_uds and port is None else configured_port if port is None else port,
        socket=socket,
        tls=tls_files(config),
        message_size_kb=config.server.message_size_kb,
        grace_s=config.server.grace_s,
        reflection=config.server.reflection,
    )
    admin = Admin(
        parts.stores,
        endpoints={name: c.endpoint for name, c in parts.components.items()},
        clock=parts.clock,
        workers=parts.reacting,
        counters=parts.counters,
    )
    store = _store_service(parts)
    rpcs = (
        *admin.rpcs(),
        *answered(parts),
        *(history_rpcs(parts.history) if parts.history else ()),
        *(edition_rpcs(parts.editions) if parts.editions else ()),
    )
    watched = _Watched(parts.commands, parts.stores) if parts.commands else None
    server = Server(
        commands=watched,
        queries=parts.queries,
        streams=parts.streams,
        store=store,
        rpcs=(*rpcs, *_speculations(parts), *dlq_rpcs(dead_letters(parts, watched))),
        components=parts.components,
        options=options,
    )
    if watched:
        watched.health = server.health
    admin.attach(lambda: (server.addresses, server.health.names()))

    def told(name: str, is_serving: bool) -> None:
        if name in parts.components:
            server.health.set(name, is_serving)

    for name, endpoint in parts.endpoints.items():
        told(name, endpoint.is_serving)
    parts.watchers.append(told)
    await server.start()
    return server


def _speculations(parts: Parts) -> Iterable[Rpc]:
    return speculation_rpcs(parts.speculations) if parts.speculations else ()


def _store_service(parts: Parts) -> StoreService | None:
    """This process's own store for others, as far as `server.store_access` goes (DEP-11)."""
    config = parts.config
    access = config.server.store_access
    if access == "off" or config.storage.type == "grpc":
        return None
    if access == "any" and not config.transport.tls.require_client_cert:
        _log.warning("server.store_access is any: who reaches the server can change its store")
    limit = config.server.message_size_kb * 1024
    return StoreService(parts.stores, message_bytes_max=limit, is_local_only=access == "local")


def _qualifier(parts: Parts) -> str:
    """The one domain that is decided on here, else `all`."""
    domains = [c.domain for c in parts.components.values() if c.name.startswith("aggregate:")]
    return domains[0] if len(domains) == 1 else "all"


class _Watched:
    """Commands that tell health when the store fails, and when it takes writes again (OPS-1)."""

    def __init__(self, commands: Commands, stores: Stores) -> None:
        self._commands = commands
        self._stores = stores
        self.health: Health | None = None
        self._is_lost = False
        self._looking: asyncio.Task[None] | None = None

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → CommandResponse."""
        return await self._told(self._commands.handle_command(request, context))

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        """EventRequest → FactInjectionResponse."""
        return await self._told(self._commands.handle_event(request, context))

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateCommandHandlerRequest → CommandResponse."""
        return await self._commands.handle_speculative(request, context)

    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → BusinessResponse."""
        return await self._told(self._commands.handle_compensation(request, context))

    async def _told(self, work: Coroutine[object, object, bytes]) -> bytes:
        try:
            answer = await work
        except (StoreUnavailable, StorageFailed):
            self._lose()
            raise
        if self._is_lost:
            with contextlib.suppress(StoreUnavailable):
                await self._regain()
        return answer

    def _lose(self) -> None:
        self._is_lost = True
        if self.health:
            self.health.block("store")
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        """Look for the store until it is back: who does not serve is sent no commands to show it.

        A store that was closed here does not come back.
        """
        pause_s = LOOK_S_MIN
        while self._is_lost:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LOOK_S_MAX)
            try:
                await self._regain()
            except StoreClosed:
                return
            except StoreUnavailable:
                continue

    async def _regain(self) -> None:
        """Serve again if the store takes writes, which is told by one that changes nothing: a
        repeated command is answered without one. Raises StoreUnavailable."""
        await self._stores.snapshots.delete(_NO_STREAM)
        self._is_lost = False
        if self.health:
            self.health.unblock("store")
