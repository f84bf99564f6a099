"""Which adapter a store URL names; each is imported when first used."""

from __future__ import annotations

import importlib
from typing import Final, Protocol, cast

from angzarr.errors import InvalidInput
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.event_store import Limits
from angzarr.ports.stores import Stores

ADAPTERS: Final = {
    "grpc": "angzarr.rpc.remote_store",  # there, since rpc alone imports gRPC
    "grpc+unix": "angzarr.rpc.remote_store",
    "memory": "angzarr.stores.memory",
    "rocksdb": "angzarr.stores.rocksdb",
    "rocksdict": "angzarr.stores.rocksdict",
}


class Opener(Protocol):
    """What an adapter's module exports as `open_stores`."""

    def __call__(self, path: str, *, sync: bool, limits: Limits, clock: Clock) -> Stores: ...


def open_stores(
    url: str, *, sync: bool = True, limits: Limits | None = None, clock: Clock | None = None
) -> Stores:
    """Open the store that `url` names: `rocksdb://PATH` (default scheme), `rocksdict://PATH`,
    `memory://`, or the one that another process has open, `grpc://HOST:PORT` or
    `grpc+unix:///PATH`.

    sync: durable on return of each append; False leaves the flush to the machine (STO-2).
    Raises InvalidInput for an unknown scheme, StoreLocked, FormatTooNew, StoreUnavailable,
    CorruptData, MissingExtra.
    """
    scheme, separator, path = url.partition("://")
    if not separator:
        scheme, path = "rocksdb", url
    if scheme not in ADAPTERS:
        raise InvalidInput("store", "one of " + ", ".join(f"{name}://" for name in ADAPTERS), url)
    opener = cast("Opener", importlib.import_module(ADAPTERS[scheme]).open_stores)
    return opener(path, sync=sync, limits=limits or Limits(), clock=clock or SystemClock())
