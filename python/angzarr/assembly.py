"""What a running app is made of: the store, handlers near and far, and their coordinators."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from angzarr import calls, components
from angzarr.components import COORDINATOR, LOCAL, QUERY, STREAM, Component, parse_endpoint
from angzarr.config import Config
from angzarr.coordinators import (
    CommandCoordinator,
    CommandOptions,
    QueryCoordinator,
    QueryOptions,
    SnapshotOptions,
    StreamCoordinator,
    StreamOptions,
)
from angzarr.coordinators.dead_letters import Redelivery
from angzarr.coordinators.destinations import (
    Destinations,
    QueryDestinations,
    RoutedDestinations,
    StoreDestinations,
)
from angzarr.deadletters import redirected
from angzarr.errors import InvalidInput, StoreUnavailable
from angzarr.handlers.aggregate import Aggregate, sagas_of
from angzarr.handlers.local import LocalCommandHandler
from angzarr.handlers.local_process_manager import LocalProcessManager
from angzarr.handlers.local_saga import LocalSaga
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.projector import Projector
from angzarr.handlers.saga import Saga
from angzarr.handlers.upcaster import LocalUpcaster, Upcaster
from angzarr.local_transport import Calls, Stream, Unary
from angzarr.ports.clock import Clock
from angzarr.ports.components import CommandHandler
from angzarr.ports.components import Upcaster as UpcasterPort
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.ports.stores import Stores
from angzarr.reacting import Reacting, Reactors, Synchrony, build
from angzarr.routing import Commands, RoutedCommands
from angzarr.stores import open_stores

if TYPE_CHECKING:
    from angzarr.config import SnapshotRule
    from angzarr.rpc.remote import Endpoint
    from angzarr.rpc.tls import TlsFiles

Definition = type[Aggregate] | type[Saga] | type[ProcessManager] | type[Projector] | type[Upcaster]

STORE_WAIT_S: Final = 120.0
"""How long a start waits for a store elsewhere."""
STORE_OWNER: Final = "store"
"""What the connection to the server that has the store is called among the endpoints."""
STORE_PAUSE_S_MIN: Final = 0.1
STORE_PAUSE_S_MAX: Final = 5.0

_log: Final = logging.getLogger("angzarr")


@dataclass(slots=True)
class Parts:
    """A running app's parts. components: the selected ones by name; known: all of them.
    definitions: the classes of components, by name.

    reacting: what runs beside requests; None where nothing does. redelivery: takes dead events.
    endpoints: connections to remote components, by component name.
    watchers: told (component name, whether it serves) when a remote one comes or goes.
    """

    config: Config
    components: dict[str, Component]
    known: dict[str, Component]
    definitions: Mapping[str, type[object]]
    stores: Stores
    clock: Clock
    coordinator: CommandCoordinator | None = None
    commands: Commands | None = None
    queries: QueryCoordinator | None = None
    streams: StreamCoordinator | None = None
    reacting: Reacting | None = None
    redelivery: Redelivery | None = None
    calls: Calls = field(default_factory=lambda: Calls({}, {}))
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, "Endpoint"])
    watchers: list[Callable[[str, bool], None]] = field(
        default_factory=list[Callable[[str, bool], None]]
    )

    async def stop(self) -> None:
        """Let go of everything, in the reverse order of the start, whatever fails on the way."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.stores.close)
            for endpoint in self.endpoints.values():
                stack.push_async_callback(endpoint.close)
            if self.coordinator:
                stack.push_async_callback(self.coordinator.close)
            if self.streams:
                stack.push_async_callback(self.streams.stop)
            if self.reacting:
                stack.push_async_callback(self.reacting.stop)


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
    handlers, remote = _handlers(parts)
    upcasters = _upcasters(parts, definitions)
    synchrony = Synchrony(parts.stores, parts.clock, config)
    local = parts.coordinator = CommandCoordinator(
        parts.stores,
        handlers,
        options=command_options(config),
        upcasters=upcasters,
        clock=parts.clock,
        reactions=synchrony.requests,
    )
    # Without any aggregate the calls are there all the same: every domain is unknown (CMD-4).
    if handlers or remote or not any(map(_is_aggregate, parts.known)):
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
    if STREAM in parts.components:
        parts.streams = StreamCoordinator(
            parts.stores.events, options=StreamOptions(config.limits.subscriber_buffer)
        )
        await parts.streams.start()
    parts.calls = _calls(parts)
    reactors = _reactors(parts)
    if reactors or handlers:
        elsewhere = {**remote, **_unselected(parts)}
        _check_reached(reactors, {*handlers, *elsewhere})
        parts.reacting = build(
            reactors,
            synchrony,
            config=config,
            stores=parts.stores,
            clock=parts.clock,
            commands=RoutedCommands(local, elsewhere) if elsewhere else local,
            destinations=_destinations(parts, handlers, elsewhere),
            command_options=command_options(config),
            upcasters=upcasters,
            publish=parts.streams.publish if parts.streams else None,
        )
        parts.redelivery = parts.reacting
        await parts.reacting.start()


def _is_aggregate(name: str) -> bool:
    return name.startswith("aggregate:")


def _reactors(parts: Parts) -> Reactors:
    """The selected sagas, process managers and projectors."""
    sagas: list[LocalSaga] = []
    managers: list[LocalProcessManager] = []
    projectors: list[type[Projector]] = []
    for name in parts.components:
        definition = parts.definitions.get(name)
        if definition is None or name.startswith("query:"):
            continue
        if issubclass(definition, Saga):
            sagas.append(LocalSaga(definition))
        elif issubclass(definition, ProcessManager):
            managers.append(LocalProcessManager(definition))
        elif issubclass(definition, Projector):
            projectors.append(definition)
    return Reactors(sagas, managers, projectors)


def _unselected(parts: Parts) -> dict[str, Commands]:
    """Coordinators of the aggregates that are not selected here, for what reacts here: those that
    are configured, else the server that has the store (DEP-11).
    """
    from angzarr.rpc.remote import RemoteCoordinator

    found: dict[str, Commands] = {}
    for name, component in parts.known.items():
        if not _is_aggregate(name) or name in parts.components:
            continue
        if component.role == COORDINATOR and not component.is_local:
            found[component.domain] = RemoteCoordinator(_endpoint(parts, component))
        elif parts.config.storage.type == "grpc":
            owner = parts.endpoints.get(STORE_OWNER) or _endpoint(
                parts, Component(STORE_OWNER, parse_endpoint(parts.config.storage.address, ""))
            )
            found[component.domain] = RemoteCoordinator(owner)
    return found


def _check_reached(reactors: Reactors, domains: set[str]) -> None:
    """Raise InvalidInput for a declared target that no endpoint leads to (DEP-16)."""
    for item in (*reactors.sagas, *reactors.managers):
        for domain in item.targets:
            if domain not in domains:
                name = f"aggregate:{domain}"
                known = ", ".join(sorted(domains)) or "none"
                raise InvalidInput(
                    f"components.{name}.endpoint",
                    "tcp://host:port or unix:///path of its coordinator",
                    "none",
                    f"{item.name} sends to {name}, which is neither selected here nor has an "
                    f"endpoint; known: {known}",
                )


def _destinations(
    parts: Parts, handlers: Mapping[str, CommandHandler], elsewhere: Mapping[str, Commands]
) -> Destinations:
    """Where streams end: in this process's store, or in that of another coordinator."""
    near = set(handlers)
    far: dict[str, Destinations] = {}
    for domain in elsewhere:
        component = parts.known[f"aggregate:{domain}"]
        endpoint = parts.endpoints.get(component.name)
        if parts.config.storage.type == "grpc" or endpoint is None:
            near.add(domain)  # the store that both have
        else:
            from angzarr.rpc.remote import RemoteQueries

            far[domain] = QueryDestinations(RemoteQueries(endpoint), [domain])
    local = StoreDestinations(parts.stores.events, near)
    return RoutedDestinations(local, far) if far else local


def _handlers(parts: Parts) -> tuple[dict[str, CommandHandler], dict[str, Commands]]:
    """Handlers by domain, and the coordinators elsewhere by domain."""
    handlers: dict[str, CommandHandler] = {}
    remote: dict[str, Commands] = {}
    for component in parts.components.values():
        if not _is_aggregate(component.name):
            continue
        if component.is_local:
            definition = parts.definitions[component.name]
            assert issubclass(definition, Aggregate)
            handlers[component.domain] = LocalCommandHandler(definition)
            continue
        # gRPC is loaded only where something is remote.
        from angzarr.rpc.descriptors import Types
        from angzarr.rpc.remote import RemoteCommandHandler, RemoteCoordinator

        endpoint = _endpoint(parts, component)
        if component.role == COORDINATOR:
            remote[component.domain] = RemoteCoordinator(endpoint)
        else:
            paths = parts.config.descriptor_paths
            handlers[component.domain] = RemoteCommandHandler(
                component.name, endpoint, types=Types(paths)
            )
    return handlers, remote


def _upcasters(parts: Parts, definitions: Sequence[Definition]) -> dict[str, UpcasterPort]:
    """In-process ones by domain; where enabled, a remote one for each other domain (UPC-1)."""
    found: dict[str, UpcasterPort] = {}
    for definition in definitions:
        if issubclass(definition, Upcaster):
            upcaster = LocalUpcaster(definition)
            if upcaster.domain in found:
                name = f"upcaster:{upcaster.domain}"
                raise InvalidInput(name, "one definition", definition.__qualname__)
            found[upcaster.domain] = upcaster
    if not parts.config.upcaster.enabled:
        return found
    from angzarr.rpc.remote import RemoteUpcaster

    address = parts.config.upcaster.address
    shared = (
        RemoteUpcaster(_endpoint(parts, Component("upcaster:remote", address))) if address else None
    )
    for component in parts.components.values():
        if component.name.startswith("aggregate:") and component.domain not in found:
            if shared is None and component.name not in parts.endpoints:
                raise InvalidInput(
                    "upcaster.address", "set, since the command handler is in this process", address
                )
            found[component.domain] = shared or RemoteUpcaster(parts.endpoints[component.name])
    return found


def _endpoint(parts: Parts, component: Component) -> Endpoint:
    """A kept connection, whose health is watched from now on (OPS-2, OPS-11)."""
    from angzarr.rpc.remote import Endpoint

    def told(is_serving: bool) -> None:
        for watcher in parts.watchers:
            watcher(component.name, is_serving)

    endpoint = Endpoint(
        component.endpoint,
        tls=tls_files(parts.config),
        message_size_kb=parts.config.server.message_size_kb,
        on_state=told,
    )
    endpoint.start()
    parts.endpoints[component.name] = endpoint
    return endpoint


def tls_files(config: Config) -> TlsFiles | None:
    """The configured PEM files; None without any."""
    from angzarr.rpc.tls import TlsFiles

    tls = config.transport.tls
    if not (tls.cert or tls.key or tls.ca):
        return None
    return TlsFiles(
        cert=tls.cert, key=tls.key, ca=tls.ca, require_client_cert=tls.require_client_cert
    )


def command_options(config: Config) -> CommandOptions:
    """The command side's bounds and snapshots, as configured."""
    limits = config.limits
    prefix = "aggregate:"
    return CommandOptions(
        max_pages_per_book=limits.max_pages_per_book,
        max_payload_bytes=limits.max_payload_bytes,
        handler_concurrency=limits.handler_concurrency,
        channel_capacity=limits.channel_capacity,
        max_error_detail_bytes=limits.max_error_detail_bytes,
        snapshots=_snapshots(config, config.snapshots),
        domain_snapshots={
            domain: _snapshots(config, rule) for domain, rule in config.snapshots.domains.items()
        },
        accepts_snapshots=frozenset(
            name.removeprefix(prefix)
            for name, entry in config.components.items()
            if name.startswith(prefix) and entry.accepts_snapshots
        ),
    )


def _snapshots(config: Config, rule: SnapshotRule) -> SnapshotOptions:
    enable = config.storage.snapshots_enable
    policy = SnapshotPolicy(rule.keep_last, rule.max_age_s)
    return SnapshotOptions(enable.read, enable.write, rule.every, policy)


def _calls(parts: Parts) -> Calls:
    unary: dict[str, Unary] = {}
    streams: dict[str, Stream] = {}
    if parts.commands:
        unary[calls.HANDLE_COMMAND] = parts.commands.handle_command
        unary[calls.HANDLE_EVENT] = parts.commands.handle_event
        unary[calls.HANDLE_SPECULATIVE] = parts.commands.handle_speculative
        unary[calls.HANDLE_COMPENSATION] = parts.commands.handle_compensation
    if parts.queries:
        queries = parts.queries
        unary[calls.GET_EVENT_BOOK] = queries.get_event_book
        streams[calls.GET_EVENTS] = queries.get_events
        streams[calls.GET_AGGREGATE_ROOTS] = lambda _, context: queries.get_aggregate_roots(context)
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
