"""A running app put together: the store, handlers near and far, and their coordinators."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from angzarr import calls, components, editions
from angzarr.aggregates import (
    check_reached,
    command_options,
    destinations_of,
    editions_elsewhere,
    handlers_of,
    is_aggregate,
    tls_files,
    unselected,
    upcasters_of,
)
from angzarr.branches import Branches
from angzarr.components import LOCAL, QUERY, STREAM, parse_endpoint
from angzarr.config import Config
from angzarr.coordinators import (
    CommandCoordinator,
    EditionCoordinator,
    EditionOptions,
    QueryCoordinator,
    QueryOptions,
    StreamCoordinator,
    StreamOptions,
)
from angzarr.coordinators.edition_reaper import EditionReaper
from angzarr.coordinators.speculations import Speculations
from angzarr.deadletters import redirected
from angzarr.errors import InvalidInput, StoreUnavailable
from angzarr.handlers.aggregate import Aggregate, sagas_of
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.projector import Projector
from angzarr.handlers.saga import Saga
from angzarr.local_transport import Calls, Stream, Unary
from angzarr.parts import Definition, Parts
from angzarr.ports.clock import Clock
from angzarr.ports.stores import Stores
from angzarr.reacting import OWNER, Synchrony, build
from angzarr.reactors import reactors_of
from angzarr.routing import RoutedCommands, RoutedHistory
from angzarr.stores import open_stores

if TYPE_CHECKING:
    pass

STORE_WAIT_S: Final = 120.0
"""How long a start waits for a store elsewhere."""
STORE_PAUSE_S_MIN: Final = 0.1
STORE_PAUSE_S_MAX: Final = 5.0

_log: Final = logging.getLogger("angzarr")


async def assemble(
    config: Config,
    definitions: Sequence[Definition],
    select: str,
    clock: Clock,
) -> Parts:
    """Open the store and start the selected components; a store elsewhere is waited for.

    Raises StoreLocked, StoreUnavailable, FormatTooNew, CorruptData, InvalidInput; then nothing
    stays open.
    """
    classes = by_component(definitions)
    known = components.known(classes, config)
    chosen = components.resolve(classes, config, select)
    one_each = {name: found[0] for name, found in classes.items()}
    parts = Parts(config, chosen, known, one_each, open_store(config, clock), clock)
    try:
        if config.storage.type == "grpc":
            await _reach(parts.stores)
        parts.stores = redirected(parts.stores, config.dlq.targets, clock)
        await _start(parts, definitions)
    except BaseException:
        await parts.stop()
        raise
    _warn(parts)
    return parts


def open_store(config: Config, clock: Clock) -> Stores:
    """The configured store: this process's own, or the one of another process's server.

    Raises as `stores.open_stores`.
    """
    storage = config.storage
    if storage.type != "grpc":
        limits = config.limits.store
        return open_stores(storage.url, sync=storage.sync, limits=limits, clock=clock)
    # gRPC is loaded only where something is remote.
    from angzarr.rpc.remote_store import RemoteStores

    key, allowed = "storage.address", "tcp://host:port or unix:///path of the server with the store"
    try:
        endpoint = parse_endpoint(storage.address, key)
    except InvalidInput as error:
        raise InvalidInput(key, allowed, storage.address) from error
    if endpoint == LOCAL:
        raise InvalidInput(key, allowed, endpoint)
    return RemoteStores(endpoint, sync=storage.sync, tls=tls_files(config))


async def _reach(stores: Stores) -> None:
    """Wait for a store elsewhere, whose process may start after this one (OPS-2).

    Raises StoreUnavailable after STORE_WAIT_S.
    """
    deadline = time.monotonic() + STORE_WAIT_S
    pause_s = STORE_PAUSE_S_MIN
    while True:
        try:
            await stores.events.log_head()
            return
        except StoreUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            _log.warning("waiting for it: %s", error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, STORE_PAUSE_S_MAX)


async def _start(parts: Parts, definitions: Sequence[Definition]) -> None:
    config = parts.config
    handlers, remote = handlers_of(parts)
    upcasters = parts.upcasters = upcasters_of(parts, definitions)
    synchrony = Synchrony(parts.stores, parts.clock, config)
    local = parts.coordinator = CommandCoordinator(
        parts.stores,
        handlers,
        options=command_options(config),
        upcasters=upcasters,
        clock=parts.clock,
        reactions=synchrony.requests,
        counters=parts.counters,
    )
    # Without any aggregate the calls are there all the same: every domain is unknown (CMD-4).
    if handlers or remote or not any(map(is_aggregate, parts.known)):
        parts.commands = RoutedCommands(local, remote) if remote else local
    if QUERY in parts.components:
        parts.queries = QueryCoordinator(
            parts.stores.events,
            upcasters=upcasters,
            options=QueryOptions(
                config.server.message_size_kb * 1024,
                config.limits.query_result_limit,
                config.query.allow_raw,
            ),
        )
    if parts.commands or parts.queries:
        parts.history = RoutedHistory(local, remote)
    if STREAM in parts.components:
        parts.streams = StreamCoordinator(
            parts.stores.events, options=StreamOptions(config.limits.subscriber_buffer)
        )
        await parts.streams.start()
    if handlers or QUERY in parts.components:
        parts.editions = EditionCoordinator(
            local.pipeline,
            local.components,
            elsewhere=editions_elsewhere(parts, remote),
            options=edition_options(config),
            clock=parts.clock,
        )
    if config.editions.reap_interval_s and config.storage.type != "grpc":
        parts.reaper = EditionReaper(
            parts.stores,
            parts.clock,
            interval_s=config.editions.reap_interval_s,
            holder=OWNER,
            counters=parts.counters,
        )
        parts.reaper.start()
    reactors = reactors_of(parts)
    elsewhere = {**remote, **unselected(parts)} if reactors or handlers else {}
    if handlers or remote:
        parts.branches = Branches(
            config,
            parts.stores,
            parts.clock,
            components=local.components,
            elsewhere=tuple(elsewhere),
            reactors=reactors,
            upcasters=upcasters,
        )
        parts.speculations = Speculations(parts.branches, command_options(config))
    parts.calls = _calls(parts)
    if reactors or handlers:
        check_reached(reactors, {*handlers, *elsewhere})
        parts.reacting = build(
            reactors,
            synchrony,
            config=config,
            stores=parts.stores,
            clock=parts.clock,
            commands=RoutedCommands(local, elsewhere) if elsewhere else local,
            destinations=destinations_of(parts, handlers, elsewhere),
            command_options=command_options(config),
            upcasters=upcasters,
            publish=parts.streams.publish if parts.streams else None,
            counters=parts.counters,
        )
        await parts.reacting.start()


def edition_options(config: Config) -> EditionOptions:
    """The bounds of EditionService, as configured."""
    limits = config.limits
    return EditionOptions(
        message_size_bytes=config.server.message_size_kb * 1024,
        query_result_limit=limits.query_result_limit,
        promoted_pages=limits.max_pages_per_append,
    )


def _calls(parts: Parts) -> Calls:
    unary: dict[str, Unary] = {}
    streams: dict[str, Stream] = {}
    if parts.commands:
        unary[calls.HANDLE_COMMAND] = parts.commands.handle_command
        unary[calls.HANDLE_EVENT] = parts.commands.handle_event
        unary[calls.HANDLE_SPECULATIVE] = parts.commands.handle_speculative
        unary[calls.HANDLE_COMPENSATION] = parts.commands.handle_compensation
    if parts.speculations:
        unary[calls.SPECULATE] = parts.speculations.run
    if parts.queries:
        queries = parts.queries
        unary[calls.GET_EVENT_BOOK] = queries.get_event_book
        streams[calls.GET_EVENTS] = queries.get_events
        streams[calls.GET_AGGREGATE_ROOTS] = lambda _, context: queries.get_aggregate_roots(context)
    if found := parts.editions:
        unary[editions.DECLARE] = found.declare
        unary[editions.GET] = found.get
        unary[editions.DELETE] = found.delete
        streams[editions.LIST] = found.list_editions
        streams[editions.LIST_BRANCHES] = found.list_branches
        streams[editions.DIFF] = found.diff
        streams[editions.PROMOTE] = found.promote
    if parts.history:
        unary[calls.GET_STATE] = parts.history.get_state
        unary[calls.GET_POSITION] = parts.history.get_position
    if parts.streams:
        streams[calls.SUBSCRIBE] = parts.streams.subscribe
    return Calls(unary, streams)


def _warn(parts: Parts) -> None:
    """One warning at the start for what weakens the promises (OPS-14)."""
    facts = parts.stores.facts()
    weak: list[str] = []
    if not facts.is_durable:
        why = "keeps nothing on disk" if parts.config.storage.type == "memory" else "sync is off"
        weak.append(
            f"store {facts.url} is not durable ({why}): a crash of the machine loses events"
        )
    if facts.details.get("build") == "debug":
        weak.append("the engine is a debug build: it is slow")
    if weak:
        _log.warning("%s", "; ".join(weak))


def by_component(definitions: Sequence[Definition]) -> Mapping[str, Sequence[type[object]]]:
    """The classes by their component's name, each class once; an aggregate's sagas among them."""
    found: dict[str, list[type[object]]] = {}

    def add(name: str, definition: type[object]) -> None:
        classes = found.setdefault(name, [])
        if definition not in classes:
            classes.append(definition)

    for definition in definitions:
        if issubclass(definition, Aggregate):
            add(f"aggregate:{definition.table().domain}", definition)
            for saga in sagas_of(definition):
                add(saga.table().component, saga)
        elif issubclass(definition, Saga | ProcessManager):
            add(definition.table().component, definition)
        elif issubclass(definition, Projector):
            name = definition.projector_table().name
            add(f"projector:{name}", definition)
            if definition.query_service() is not None:
                add(f"query:{name}", definition)
    return found
