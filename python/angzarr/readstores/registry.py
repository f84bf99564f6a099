"""Which adapter a read store's URL names; each is imported when first used."""

from __future__ import annotations

import importlib
from typing import Final, Protocol, cast

from angzarr.errors import InvalidInput
from angzarr.ports.read_store import ReadStore

ADAPTERS: Final = {"sqlite": "angzarr.readstores.sqlite"}


class Maker(Protocol):
    """What an adapter's module exports as `read_store`."""

    def __call__(self, path: str, *, schema: str) -> ReadStore[object]: ...


def read_store(url: str, *, schema: str = "") -> ReadStore[object]:
    """The read store that `url` names: `sqlite://PATH`. Nothing is opened.

    schema: statements that make its tables. Raises InvalidInput for an unknown scheme, or no path.
    """
    scheme = url.partition("://")[0]
    if scheme not in ADAPTERS:
        allowed = "one of " + ", ".join(f"{name}://PATH" for name in ADAPTERS)
        raise InvalidInput("read_store", allowed, url)
    maker = cast("Maker", importlib.import_module(ADAPTERS[scheme]).read_store)
    return maker(path_of(url, scheme, "read_store"), schema=schema)


def path_of(url: str, scheme: str, key: str) -> str:
    """The path in `scheme://PATH`. Raises InvalidInput, naming `key`, for anything else."""
    found, separator, path = url.partition("://")
    if found != scheme or not separator or not path:
        raise InvalidInput(key, f"{scheme}://PATH", url)
    return path
