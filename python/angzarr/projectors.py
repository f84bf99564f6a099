"""Projector classes put together with a store: what an app and the command line need of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from angzarr.config import Config
from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.projector import (
    ProjectorCoordinator,
    Publish,
    plain_projector,
    stored_projector,
)
from angzarr.coordinators.replays import Beside
from angzarr.errors import InvalidInput
from angzarr.handlers.local_projector import LocalProjector
from angzarr.handlers.projector import Projector
from angzarr.handlers.upcaster import LocalUpcaster
from angzarr.handlers.upcaster import Upcaster as UpcasterClass
from angzarr.ports.clock import Clock
from angzarr.ports.components import Upcaster
from angzarr.ports.read_store import Progress, ReadStore, ReplacedReadStore
from angzarr.ports.stores import Stores
from angzarr.readstores import Sqlite
from angzarr.readstores.registry import path_of

if TYPE_CHECKING:
    from angzarr.rpc.services import Rpc

MS: Final = 1e-3


def coordinator_of(
    cls: type[Projector],
    stores: Stores,
    config: Config,
    *,
    upcasters: Mapping[str, Upcaster] | None = None,
    publish: Publish | None = None,
    clock: Clock | None = None,
) -> ProjectorCoordinator:
    """The coordinator of a projector class, as configured; not open yet.

    publish: takes its projections, if the configuration wants that (PROJ-11).
    """
    local = LocalProjector(cls)
    rule = config.projection.rule(cls.projector_table().name)
    shown = publish if rule.stream_output else None
    options = options_of(cls, config)
    store = read_store_of(cls, config)
    if store is None:
        return plain_projector(
            local,
            stores,
            options=options,
            upcasters=upcasters,
            reset=lambda: local.reset(None),
            publish=shown,
            clock=clock,
        )
    return stored_projector(
        local,
        store,
        stores,
        options=options,
        upcasters=upcasters,
        publish=shown,
        clock=clock,
    )


def beside_of(
    cls: type[Projector],
    stores: Stores,
    config: Config,
    *,
    upcasters: Mapping[str, Upcaster] | None = None,
    progress: Progress | None = None,
    passes_failures: bool = False,
) -> Beside:
    """The read model of a projector class, to be built anew beside itself.

    Raises InvalidInput where its read store can't do that.
    """
    store = replaced_read_store_of(cls, config)
    if store is None:
        name = cls.projector_table().name
        message = f"projector {name} has no read store that is built beside; replay it in place"
        raise InvalidInput("read_store", "Sqlite", "none", message)
    return Beside(
        LocalProjector(cls),
        store,
        stores.events,
        options=options_of(cls, config),
        upcasters=upcasters,
        progress=progress,
        passes_failures=passes_failures,
    )


def read_store_of(cls: type[Projector], config: Config) -> ReadStore[object] | None:
    """Where its rows are: what the class names, at the configured place if there is one.

    Raises InvalidInput for a place of another kind, or for a class without a read store.
    """
    table = cls.projector_table()
    url = config.projection.rule(table.name).read_store
    if not url:
        return table.read_store
    key = f"projection.projectors.{table.name}.read_store"
    if isinstance(table.read_store, Sqlite):
        return table.read_store.at(path_of(url, "sqlite", key))
    raise InvalidInput(key, "empty, since the class names no Sqlite read store", url)


def replaced_read_store_of(cls: type[Projector], config: Config) -> ReplacedReadStore | None:
    """The same, if it is one that can be built beside itself."""
    store = read_store_of(cls, config)
    return store if isinstance(store, Sqlite) else None


def options_of(cls: type[Projector], config: Config) -> ProjectorOptions:
    """Its bounds, as configured."""
    return options_by_name(cls.projector_table().name, config)


def options_by_name(name: str, config: Config) -> ProjectorOptions:
    """The bounds of the projector of this name, as configured."""
    projection = config.projection
    rule = projection.rule(name)
    return ProjectorOptions(
        concurrency=rule.concurrency or projection.concurrency,
        gap_pages=projection.gap_pages,
        book_bytes=config.server.message_size_kb * 1024 // 2,
        batch_books=projection.batch_books,
        batch_s=projection.batch_ms * MS,
        write_behind_s=projection.write_behind_ms * MS,
        handle_timeout_s=rule.timeout_s or projection.timeout_s,
    )


def upcasters_of(definitions: Iterable[type[object]]) -> dict[str, Upcaster]:
    """The upcasters among an app's classes, by domain."""
    found = [LocalUpcaster(item) for item in definitions if issubclass(item, UpcasterClass)]
    return {upcaster.domain: upcaster for upcaster in found}


def query_rpcs(cls: type[Projector], config: Config) -> tuple[Rpc, ...]:
    """The methods of its query service, which reads the read store and nothing else (DEP-7).

    They need neither the projector nor its coordinator in this process. Empty without a service.
    """
    service = cls.query_service()
    if service is None:
        return ()
    from angzarr.rpc.servicers import servicer_rpcs  # gRPC is loaded only where it is served

    store = read_store_of(cls, config)
    servicer = service.servicer() if store is None else service.servicer(store.reader())
    return servicer_rpcs(service.add_to_server, servicer)
