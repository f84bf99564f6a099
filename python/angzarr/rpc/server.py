"""One gRPC server for any set of services: addresses, TLS, health, draining (WIRE-15, OPS-3)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from angzarr.errors import InvalidInput
from angzarr.rpc import sockets
from angzarr.rpc.admin import Admin
from angzarr.rpc.door import Door
from angzarr.rpc.health import Health
from angzarr.rpc.reflection import reflection_rpcs
from angzarr.rpc.services import (
    Commands,
    Queries,
    Rpc,
    Streams,
    command_rpcs,
    query_rpcs,
    stream_rpcs,
)
from angzarr.rpc.store import StoreService
from angzarr.rpc.tls import TlsFiles

DEFAULT_PORT: Final = 1310
MESSAGE_SIZE_KB: Final = 10_240


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where and how to listen.

    port: 0 takes a free one, None listens on no TCP port. socket: path of a Unix socket, None for
    none. message_size_kb: of one message, both ways (WIRE-14). grace_s: what running calls get when
    the server stops (OPS-3).
    """

    host: str = "127.0.0.1"
    port: int | None = DEFAULT_PORT
    socket: Path | None = None
    tls: TlsFiles | None = None
    message_size_kb: int = MESSAGE_SIZE_KB
    grace_s: float = 10.0
    reflection: bool = True


class Server:
    """Serves coordinators, any set of them, on one port.

    components: names `kind:name` that health knows beside the services. rpcs: further methods.
    `health` is there from the start and takes the states of components.
    """

    def __init__(
        self,
        *,
        commands: Commands | None = None,
        queries: Queries | None = None,
        streams: Streams | None = None,
        admin: Admin | None = None,
        store: StoreService | None = None,
        rpcs: Iterable[Rpc] = (),
        components: Iterable[str] = (),
        options: ServerOptions | None = None,
    ) -> None:
        self._options = options or ServerOptions()
        served = [
            *(command_rpcs(commands) if commands else ()),
            *(query_rpcs(queries) if queries else ()),
            *(stream_rpcs(streams) if streams else ()),
            *(admin.rpcs() if admin else ()),
            *(store.rpcs() if store else ()),
            *rpcs,
        ]
        services = {rpc.service for rpc in served}
        self.health = Health(sorted({*services, *components}))
        served += self.health.rpcs()
        if self._options.reflection:
            served += reflection_rpcs({rpc.service for rpc in served})
        self.services: tuple[str, ...] = tuple(sorted({rpc.service for rpc in served}))
        self._rpcs = tuple(served)
        self._store = store
        self._door: Door | None = None
        self._inode: tuple[int, int] | None = None
        self.addresses: tuple[str, ...] = ()
        if admin:
            admin.attach(lambda: (self.addresses, self.health.names()))

    async def start(self) -> tuple[str, ...]:
        """Listen and serve; the bound addresses, `HOST:PORT` and `unix:PATH`, TCP first.

        Raises InvalidInput for an address that is taken or not ours, a live socket, and TLS files
        that can't be read.
        """
        options = self._options
        if options.port is None and options.socket is None:
            raise InvalidInput("transport", "a TCP port or a Unix socket", "neither")
        if options.socket is not None:
            sockets.claim(options.socket)
        limit = options.message_size_kb * 1024
        door = Door(self._rpcs, message_bytes_max=limit, tls=options.tls)
        try:
            self.addresses = tuple(self._bind(door))
            if options.socket is not None:
                options.socket.chmod(0o600)
                found = options.socket.stat()
                self._inode = found.st_dev, found.st_ino
            door.start()
        except BaseException:
            await door.stop(0)  # lets go of what is bound already
            self._remove_socket()
            raise
        self._door = door
        return self.addresses

    async def stop(self, grace_s: float | None = None) -> None:
        """Drain: health says NOT_SERVING, no new calls, running ones get `grace_s`, then the end.

        Live streams and waits for the log end at once. Idempotent.
        """
        self.health.drain()
        if self._store is not None:
            self._store.drain()
        if self._door is not None:
            await self._door.stop(self._options.grace_s if grace_s is None else grace_s)
        self._remove_socket()

    async def wait(self) -> None:
        """Return when the server has stopped."""
        if self._door is not None:
            await self._door.wait()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _bind(self, door: Door) -> Iterator[str]:
        host, port, socket = self._options.host, self._options.port, self._options.socket
        if port is not None:
            yield f"{_bracketed(host)}:{door.bind_tcp(_bracketed(host), port)}"
        if socket is not None:
            door.bind_unix(socket)
            yield f"unix:{socket}"

    def _remove_socket(self) -> None:
        """Remove our socket's file, unless another server has put its own in the place."""
        path, self_inode = self._options.socket, self._inode
        self._inode = None
        if path is None or self_inode is None:
            return
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return
        if (found.st_dev, found.st_ino) == self_inode:
            path.unlink(missing_ok=True)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
