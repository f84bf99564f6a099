"""What can be read: a running app, an open store, a store's URL, a client of a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from angzarr.app import App
from angzarr.caller import Caller
from angzarr.caller_sync import SyncCaller
from angzarr.errors import InvalidInput
from angzarr.handlers.upcaster import LocalUpcaster, Upcaster
from angzarr.parts import Definition
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import Upcaster as UpcasterPort
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from angzarr.sync_bridge import BridgedTransport, LoopThread

Source = App | Caller | SyncCaller | Stores | str | Path
"""A running App, or what `with App(…)` gives; a client of `connect` or `connect_sync`, whose server
has to be on this machine (it reads the server's store); an open store; or a store's URL or path,
which is open while it is read."""

ON_DISK: Final = ("rocksdb", "rocksdict")


@dataclass(frozen=True, slots=True)
class Opened:
    """A source while it is read. definitions: the classes that say what events are. upcasters: by
    domain."""

    stores: Stores
    definitions: Sequence[type]
    upcasters: Mapping[str, UpcasterPort]
    clock: Clock


def definitions_of(source: Source, given: Sequence[Definition]) -> tuple[Definition, ...]:
    """The classes given, and those of an app."""
    app = app_of(source)
    return (*given, *(app.definitions if app is not None else ()))


def app_of(source: Source) -> App | None:
    """The app of this process that the source is, or calls."""
    if isinstance(source, SyncCaller) and isinstance(source.transport, BridgedTransport):
        source = getattr(source.transport.transport, "app", source)
    return source if isinstance(source, App) else None


def thread_of(source: Source) -> LoopThread | None:
    """The loop that the source lives in, if that is one for callers without a loop."""
    if isinstance(source, SyncCaller) and isinstance(source.transport, BridgedTransport):
        return source.transport.thread
    return None


@asynccontextmanager
async def opened(source: Source, definitions: Sequence[Definition] = ()) -> AsyncGenerator[Opened]:
    """The source, open until the end of the block.

    definitions: Aggregate, ProcessManager and Upcaster classes, beside those of an app. Raises
    InvalidInput where no store is, and what `open_stores` raises.
    """
    classes = definitions_of(source, definitions)
    app = app_of(source)
    if app is not None:
        upcasters = {**app.upcasters, **_upcasters(definitions)}
        yield Opened(app.stores, classes, upcasters, app.clock)
        return
    is_ours = isinstance(source, str | Path | Caller | SyncCaller)
    stores = _open(source) if is_ours else source
    try:
        yield Opened(stores, classes, _upcasters(classes), SystemClock())
    finally:
        if is_ours:
            await stores.close()


def _upcasters(definitions: Sequence[Definition]) -> dict[str, UpcasterPort]:
    found = [LocalUpcaster(cls) for cls in definitions if issubclass(cls, Upcaster)]
    return {upcaster.domain: upcaster for upcaster in found}


def _open(source: str | Path | Caller | SyncCaller) -> Stores:
    """The store of a URL, or of a client's server. A directory has to be there: reading makes
    none."""
    if isinstance(source, Caller | SyncCaller):
        # gRPC is loaded only where something is remote.
        from angzarr.rpc.client_transport import GrpcTransport, SyncGrpcTransport
        from angzarr.rpc.remote_store import RemoteStores

        transport = source.transport
        if not isinstance(transport, GrpcTransport | SyncGrpcTransport):
            raise InvalidInput("source", "an app, a store or a client of a server", source)
        return RemoteStores(transport.endpoint, tls=transport.tls)
    url = str(source)
    scheme, separator, path = url.partition("://")
    if not separator:
        scheme, path = "rocksdb", url
    if scheme in ON_DISK and not Path(path).is_dir():
        raise InvalidInput("source", "the directory of a store", path)
    return open_stores(url)
