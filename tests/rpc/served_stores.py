"""Stores behind a server on a loopback port, with a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from angzarr.ports.clock import Clock
from angzarr.ports.event_store import Limits, LogEntry
from angzarr.ports.stores import Stores
from angzarr.rpc.admin import Admin
from angzarr.rpc.remote_store import RemoteStores
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import Rpc
from angzarr.rpc.store import StoreService
from angzarr.stores import open_stores
from angzarr.sync_bridge import LoopThread

MESSAGE_SIZE_KB = 10_240


class StoreServer:
    """A server that offers `stores`, until it is closed with them."""

    def __init__(self, thread: LoopThread, stores: Stores, **options: Any) -> None:
        self._thread = thread
        self._stores = stores
        self._options: dict[str, Any] = {"port": 0, "grace_s": 5, **options}
        self.address = ""
        self.start()

    def start(self) -> None:
        """Listen, again where it listened before."""
        limit = self._options.get("message_size_kb", MESSAGE_SIZE_KB) * 1024
        self._server = Server(
            store=StoreService(self._stores, message_bytes_max=limit),
            admin=Admin(self._stores),
            options=ServerOptions(**self._options),
        )
        self.address = self._thread.run(self._server.start())[0]
        if self._options["port"] is not None:
            self._options["port"] = int(self.address.rpartition(":")[2])

    def stop(self) -> None:
        """Stop listening; the store stays open."""
        self._thread.run(self._server.stop())

    def close(self) -> None:
        """Stop listening and close the store."""
        self.stop()
        self._thread.run(self._stores.close())


class ServedStores:
    """A remote store whose server is closed with it."""

    def __init__(self, server: StoreServer, *, sync: bool = True) -> None:
        self._server = server
        self._remote = RemoteStores(server.address, sync=sync)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)

    async def close(self) -> None:
        await self._remote.close()
        self._server.close()


class WaitedFor:
    """An event store that tells how many wait for its log to grow, in one event loop."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._count = 0
        self._moved = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        self._add(1)
        try:
            return await self._inner.tail(after, limit=limit, wait_s=wait_s)
        finally:
            self._add(-1)

    async def waited_for_by(self, count: int) -> None:
        """Return when so many wait."""
        while self._count != count:
            self._moved.clear()
            await self._moved.wait()

    def _add(self, count: int) -> None:
        self._count += count
        self._moved.set()


def open_served(
    thread: LoopThread, url: str, *, sync: bool = True, limits: Limits, clock: Clock
) -> Any:
    """The store at `url`, by way of a server of its own."""

    async def opened() -> Stores:
        return open_stores(url, sync=sync, limits=limits, clock=clock)

    return ServedStores(StoreServer(thread, thread.run(opened())), sync=sync)


@contextlib.contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """A loop for servers."""
    with contextlib.closing(LoopThread("servers")) as thread:
        yield thread


class Host:
    """The process that has the store: its server can stop and come back at the same address."""

    def __init__(self, stores: Stores, **options: Any) -> None:
        self.stores = stores
        self.waited_for_by = WaitedFor(stores.events).waited_for_by
        self.options: dict[str, Any] = {"port": 0, "grace_s": 0, **options}
        self.rpcs: tuple[Rpc, ...] | None = None
        self.server: Server | None = None
        self.address = ""
        self.users: list[RemoteStores] = []

    async def start(self) -> None:
        """Listen."""
        limit = self.options.get("message_size_kb", 10_240) * 1024
        service = StoreService(self.stores, message_bytes_max=limit)
        is_store = self.rpcs is None
        self.server = Server(
            store=service if is_store else None,
            admin=Admin(self.stores),
            rpcs=self.rpcs or (),
            options=ServerOptions(**self.options),
        )
        self.address = (await self.server.start())[0]
        if self.options["port"] is not None:
            self.options["port"] = int(self.address.rpartition(":")[2])

    async def stop(self) -> None:
        """Listen no more; the store stays open."""
        if self.server:
            await self.server.stop()

    def user(self, **options: Any) -> RemoteStores:
        """One more process that uses the store."""
        self.users.append(RemoteStores(self.address, **options))
        return self.users[-1]

    async def close(self) -> None:
        for user in self.users:
            await user.close()
        await self.stop()
        await self.stores.close()


class Holding:
    """Events whose appends are counted, and wait for `hold`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.begun: list[int] = []
        self.is_begun = asyncio.Event()
        self.hold = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, cover: Any, expected: int, made: Any, **options: Any) -> Any:
        self.begun.append(expected)
        self.is_begun.set()
        await self.hold.wait()
        return await self._inner.append(cover, expected, made, **options)


def holding(host: Host) -> Holding:
    """Put `Holding` before the host's events; the server has to be started after it."""
    events = Holding(host.stores.events)
    host.stores = WithEvents(host.stores, events)
    return events


class WithEvents:
    """Stores with another event store."""

    def __init__(self, inner: Any, events: Any) -> None:
        self._inner = inner
        self.events = events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
