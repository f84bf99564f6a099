"""The composition root: aggregates, a store and their coordinators, in this process.

    async with App(Account, store="rocksdb://data") as app:
        await app.domain(Account).send("alice", Deposit(500))

    with App(Account, store="memory://") as app:              # the same without an event loop
        app.domain(Account).send("alice", Deposit(500))

Nothing listens until `serve` is called (DEP-17).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from angzarr import components
from angzarr.caller import Caller
from angzarr.caller_sync import SyncCaller
from angzarr.components import Component
from angzarr.config import Config, load
from angzarr.coordinators import (
    CommandCoordinator,
    CommandOptions,
    QueryCoordinator,
    QueryOptions,
    StreamCoordinator,
)
from angzarr.forwarding import ForwardedCommands, ForwardedQueries
from angzarr.handlers import Aggregate
from angzarr.handlers.local import LocalCommandHandler
from angzarr.local_transport import Calls, LocalTransport
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import CommandHandler
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from angzarr.sync_bridge import BridgedTransport, LoopThread

if TYPE_CHECKING:
    from angzarr.rpc.client_transport import GrpcTransport
    from angzarr.rpc.server import Server

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)


class App(Caller):
    """Aggregates on a store, with the calls of a client; the class is the same when they are split.

    aggregates: Aggregate classes. store: a URL, `rocksdb://PATH`, `rocksdict://PATH` or `memory://`; None leaves it
    to the configuration (rocksdb://data). sync: durable on return of each append. config: a Config, the path of a
    file, or dotted keys with values; None reads the sources of OPS-8 when the app starts. select: which components
    run here (DEP-10). clock: the source of timestamps, the machine's unless a test owns it.

    Starting raises InvalidInput for a wrong configuration, StoreLocked, StoreUnavailable, FormatTooNew, CorruptData.
    """

    def __init__(
        self,
        *aggregates: type[Aggregate],
        store: str | None = None,
        sync: bool | None = None,
        config: Config | Mapping[str, object] | str | Path | None = None,
        select: str = "*",
        clock: Clock | None = None,
    ) -> None:
        self._aggregates = aggregates
        self._given = config
        self._code = _code(store, sync)
        self._select = select
        self._clock: Clock = clock or SystemClock()
        self._parts: _Parts | None = None
        self._loop_thread: LoopThread | None = None
        self._sync_caller: SyncCaller | None = None
        super().__init__(LocalTransport(lambda: self._running.calls))

    @property
    def aggregates(self) -> tuple[type[Aggregate], ...]:
        """The classes that it was made of."""
        return self._aggregates

    def configure(self, code: Mapping[str, object], *, path: Path | None = None, select: str = "") -> None:
        """Lay settings over those given, as the command line does; before the app starts.

        code: dotted keys to values. path: a configuration file, in place of one given in code.
        """
        self._code = {**self._code, **code}
        self._given = path or self._given
        self._select = select or self._select

    @property
    def config(self) -> Config:
        """The configuration in force; it is read now if the app has not started."""
        if self._parts:
            return self._parts.config
        if isinstance(self._given, Config):
            return self._given if not self._code else self._given.with_code(self._code)
        if isinstance(self._given, str | Path):
            return load(path=self._given, code=self._code)
        return load(code={**(self._given or {}), **self._code})

    def components(self) -> dict[str, Component]:
        """The selected components by name, each with its endpoint. InvalidInput as at the start."""
        by_domain: dict[str, list[type[object]]] = {}
        for aggregate in self._aggregates:
            classes = by_domain.setdefault(aggregate.table().domain, [])
            if aggregate not in classes:
                classes.append(aggregate)
        return components.resolve(by_domain, self.config, self._select)

    @property
    def stores(self) -> Stores:
        """The open store's ports."""
        return self._running.stores

    async def start(self) -> None:
        """Open the store and start the coordinators. Raises RuntimeError if it runs already."""
        if self._parts:
            raise RuntimeError("the app runs already")
        self._parts = await _Parts.start(self.config, self.components(), self._aggregates, self._clock)

    async def stop(self) -> None:
        """Finish accepted work and close the store. Idempotent."""
        parts, self._parts = self._parts, None
        if parts:
            await parts.stop()

    async def close(self) -> None:
        """The same as `stop`."""
        await self.stop()

    async def serve(self, *, host: str | None = None, port: int | None = None) -> Server:
        """Listen, by the configuration's `server` and `transport`; the started server.

        host, port: in place of the configured ones; port 0 takes a free one. `server.addresses` says where it is;
        stop it before the app. Raises InvalidInput for an address that is taken.
        """
        from angzarr.rpc.serving import serve  # gRPC is loaded only where something listens

        return await serve(self._running, host=host, port=port)

    def sync(self) -> SyncCaller:
        """Start in a thread of its own and give the face without `await`; closing that stops the app."""
        if self._sync_caller:
            raise RuntimeError("the app runs already")
        thread = LoopThread()
        try:
            thread.run(self.start())
        except BaseException:
            thread.close()
            raise
        return SyncCaller(BridgedTransport(_Stopping(self, self._transport), thread))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __enter__(self) -> SyncCaller:
        self._sync_caller = self.sync()
        return self._sync_caller

    def __exit__(self, *_: object) -> None:
        caller, self._sync_caller = self._sync_caller, None
        if caller:
            caller.close()

    @property
    def _running(self) -> _Parts:
        if not self._parts:
            raise RuntimeError("the app does not run; use `async with app:`, `with app:` or start()")
        return self._parts
