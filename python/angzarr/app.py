"""The composition root: aggregates, what reacts to them, and a store, in this process.

    async with App(Account, store="rocksdb://data") as app:
        await app.domain(Account).send("alice", Deposit(500))

    with App(Account, store="memory://") as app:              # the same without an event loop
        app.domain(Account).send("alice", Deposit(500))

Nothing listens until `serve` is called (DEP-17).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from angzarr import assembly, components
from angzarr.caller import Caller
from angzarr.caller_sync import SyncCaller
from angzarr.components import Component
from angzarr.config import Config, load, store_settings
from angzarr.errors import InvalidInput
from angzarr.handlers.aggregate import Aggregate
from angzarr.local_transport import Calls, LocalTransport
from angzarr.parts import Definition, Parts
from angzarr.points import At
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import Upcaster as UpcasterPort
from angzarr.ports.stores import Stores
from angzarr.sync_bridge import BridgedTransport, LoopThread
from angzarr.what_if import Stream, WhatIf, what_if

if TYPE_CHECKING:
    from angzarr.rpc.server import Server

STOPPED = "the app does not run; use `async with app:`, `with app:` or `await app.start()`"


class App(Caller):
    """Aggregates, what reacts to them, and a store, called like a server (`angzarr.caller.Caller`),
    in this process.

    definitions: Aggregate, Saga, ProcessManager, Projector and Upcaster classes.
    store: a URL, `rocksdb://PATH`, `rocksdict://PATH` or `memory://`, or the store of another
    process's server,
        `grpc://HOST:PORT` or `grpc+unix:///PATH`; None leaves it to the configuration, whose
        default is rocksdb://data.
    sync: whether events are durable when a call returns; None leaves it to the configuration: yes.
    config: a Config, a file's path, or dotted keys with values; None reads the sources of OPS-8 at
    the start.
    select: which components run here (DEP-10). clock: the source of timestamps; tests bring their
    own.

    Starting raises InvalidInput for a wrong configuration, StoreLocked, StoreUnavailable,
    FormatTooNew, CorruptData.
    """

    def __init__(
        self,
        *definitions: Definition,
        store: str | None = None,
        sync: bool | None = None,
        config: Config | Mapping[str, object] | str | Path | None = None,
        select: str = "*",
        clock: Clock | None = None,
    ) -> None:
        self._definitions = definitions
        self._given = config
        self._code = _code(store, sync)
        self._select = select
        self._clock: Clock = clock or SystemClock()
        self._parts: Parts | None = None
        self._entered: SyncCaller | None = None
        super().__init__(LocalTransport(self._calls), _aggregates(definitions))

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """The classes that it was made of."""
        return self._definitions

    def configure(
        self, code: Mapping[str, object], *, path: str | Path | None = None, select: str = ""
    ) -> None:
        """Lay settings over those given, as the command line does. Raises RuntimeError while it
        runs.

        code: dotted keys to values. path: a configuration file in place of one given in code.
        """
        if self._parts:
            raise RuntimeError("the app runs already; configure it before")
        self._code = {**self._code, **code}
        self._given = path or self._given
        self._select = select or self._select

    @property
    def config(self) -> Config:
        """The configuration in force; its sources are read now unless the app runs."""
        if self._parts:
            return self._parts.config
        if isinstance(self._given, Config):
            return self._given.with_code(self._code) if self._code else self._given
        if isinstance(self._given, str | Path):
            return load(path=self._given, code=self._code)
        return load(code={**(self._given or {}), **self._code})

    def components(self) -> dict[str, Component]:
        """The selected components by name, each with its endpoint. Raises InvalidInput as the
        start does."""
        classes = assembly.by_component(self._definitions)
        return components.resolve(classes, self.config, self._select)

    @property
    def upcasters(self) -> Mapping[str, UpcasterPort]:
        """What lifts old events, by domain. Raises RuntimeError unless the app runs."""
        return self._running().upcasters

    @property
    def clock(self) -> Clock:
        """The source of timestamps."""
        return self._clock

    @property
    def stores(self) -> Stores:
        """The open store. Raises RuntimeError unless the app runs."""
        return self._running().stores

    async def start(self) -> None:
        """Open the store and start the coordinators. Raises RuntimeError if it runs already."""
        if self._parts:
            raise RuntimeError("the app runs already")
        self._parts = await assembly.assemble(
            self.config, self._definitions, self._select, self._clock
        )

    async def stop(self) -> None:
        """Finish accepted work and close the store. Idempotent."""
        parts, self._parts = self._parts, None
        if parts:
            await parts.stop()

    async def close(self) -> None:
        """The same as `stop`, under a client's name for it."""
        await self.stop()

    async def settled(self) -> None:
        """Return when sagas, process managers and projectors of this process have reacted to all
        that is stored, to what that led to as well, and no compensation is under way. For tests and
        scripts; timers that are not due yet are not waited for.
        """
        reacting = self._running().reacting
        if reacting:
            await reacting.settled()

    def what_if(
        self,
        edition: str = "",
        *,
        at: At | None = None,
        of: Stream | None = None,
        reactions: bool = True,
    ) -> AbstractAsyncContextManager[WhatIf]:
        """A branch in memory of what is stored, for the time of the context: `send`, `state`,
        `events` and the rest as on the app itself, and nobody else hears of it (SPEC-6).

            async with app.what_if(at=3, of=(Hand, "h1")) as branch:
                await branch.domain(Hand).send("h1", Fold(2))

        edition: what it is a branch of. at: as of then, now without it; what is stored meanwhile is
        not seen. of: the stream that a sequence is of, (class or domain, root); all others are as
        they were at that moment. reactions: whether sagas and process managers of this process
        react to what is written there. Projectors don't. Raises InvalidInput for a point that never
        was.
        """
        parts = self._running()
        if parts.branches is None:
            raise InvalidInput("what_if", "a process that decides on aggregates", "none here")
        return what_if(
            parts.branches,
            _aggregates(self._definitions),
            edition=edition,
            at=at,
            of=of,
            reactions=reactions,
        )

    async def replay(
        self,
        projector: str,
        *,
        publishes: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Delete the rows of a projector of this process, and feed it the log from its beginning;
        returns when it has come to where the log ended. Commands go on meanwhile.

        projector: its name. publishes: whether projections are published meanwhile. progress: told
        (log positions done, in all). Raises InvalidInput for an unknown one, ReplayRunning, and
        NotPermitted while another process feeds it.
        """
        reacting = self._running().reacting
        if reacting is None:
            raise InvalidInput("projector", "one of this process, which has none", projector)
        await reacting.replay(projector, publishes=publishes, progress=progress)

    async def serve(
        self, *, host: str | None = None, port: int | None = None, socket: Path | None = None
    ) -> Server:
        """Listen over gRPC where `server` and `transport` say; the started server.

        host, port, socket: in place of the configured ones; port 0 takes a free one, and
        `server.addresses` says which. Stop the server before the app. Raises InvalidInput for an
        address that is taken.
        """
        from angzarr.serving import serve  # gRPC is loaded only where something listens

        return await serve(self._running(), host=host, port=port, socket=socket)

    def sync(self) -> SyncCaller:
        """Start in a thread of its own; the face without `await`, whose close() stops the app."""
        thread = LoopThread()
        try:
            thread.run(self.start())
        except BaseException:
            thread.close()
            raise
        transport = BridgedTransport(_Owning(self), thread)
        return SyncCaller(transport, _aggregates(self._definitions))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __enter__(self) -> SyncCaller:
        self._entered = self.sync()
        return self._entered

    def __exit__(self, *_: object) -> None:
        entered, self._entered = self._entered, None
        if entered:
            entered.close()

    def _running(self) -> Parts:
        if not self._parts:
            raise RuntimeError(STOPPED)
        return self._parts

    def _calls(self) -> Calls:
        return self._running().calls


class _Owning(LocalTransport):
    """An app's transport that stops the app when it is closed."""

    def __init__(self, app: App) -> None:
        super().__init__(app._calls)  # pyright: ignore[reportPrivateUsage]
        self.app = app

    async def close(self) -> None:
        await self.app.stop()


def _aggregates(definitions: Sequence[Definition]) -> list[type[Aggregate]]:
    """The classes that stand behind the names of domains."""
    return [cls for cls in definitions if issubclass(cls, Aggregate)]


def _code(store: str | None, sync: bool | None) -> dict[str, object]:
    """The configuration's keys that the constructor's arguments stand for."""
    code: dict[str, object] = {} if sync is None else {"storage.sync": sync}
    return code if store is None else {**code, **store_settings(store)}
