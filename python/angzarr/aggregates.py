"""The aggregates of a running app: those that are decided on here, and those that are reached
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from angzarr.components import COORDINATOR, Component, parse_endpoint
from angzarr.config import Config
from angzarr.coordinators import CommandOptions, SnapshotOptions
from angzarr.coordinators.destinations import (
    Destinations,
    QueryDestinations,
    RoutedDestinations,
    StoreDestinations,
)
from angzarr.coordinators.editions import Elsewhere as EditionsElsewhere
from angzarr.coordinators.lineage import Lineage
from angzarr.errors import InvalidInput
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.local import LocalCommandHandler
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.upcaster import LocalUpcaster, Upcaster
from angzarr.parts import Definition, Parts
from angzarr.ports.components import CommandHandler
from angzarr.ports.components import Upcaster as UpcasterPort
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.reacting import Reactors
from angzarr.routing import Commands, Elsewhere

if TYPE_CHECKING:
    from angzarr.config import SnapshotRule
    from angzarr.rpc.remote import Endpoint
    from angzarr.rpc.tls import TlsFiles

STORE_OWNER: Final = "store"
"""What the connection to the server that has the store is called among the endpoints."""


def handlers_of(parts: Parts) -> tuple[dict[str, CommandHandler], dict[str, Elsewhere]]:
    """Handlers by domain, and the coordinators elsewhere by domain."""
    handlers: dict[str, CommandHandler] = {}
    remote: dict[str, Elsewhere] = {}
    for component in parts.components.values():
        if not is_aggregate(component.name):
            continue
        if component.is_local:
            definition = parts.definitions[component.name]
            assert issubclass(definition, Aggregate)
            handlers[component.domain] = LocalCommandHandler(definition)
            continue
        # gRPC is loaded only where something is remote.
        from angzarr.rpc.descriptors import Types
        from angzarr.rpc.remote import RemoteCommandHandler, RemoteCoordinator

        endpoint = endpoint_of(parts, component)
        if component.role == COORDINATOR:
            remote[component.domain] = RemoteCoordinator(endpoint)
        else:
            paths = parts.config.descriptor_paths
            handlers[component.domain] = RemoteCommandHandler(
                component.name, endpoint, types=Types(paths)
            )
    return handlers, remote


def editions_elsewhere(parts: Parts, remote: Iterable[str]) -> dict[str, EditionsElsewhere]:
    """Who is asked for differences and promotions of the domains that are decided on elsewhere."""
    found: dict[str, EditionsElsewhere] = {}
    for domain in remote:
        # gRPC is loaded only where something is remote.
        from angzarr.rpc.editions_client import RemoteEditions

        found[domain] = RemoteEditions(parts.endpoints[f"aggregate:{domain}"])
    return found


def upcasters_of(parts: Parts, definitions: Sequence[Definition]) -> dict[str, UpcasterPort]:
    """In-process ones by domain; where enabled, a remote one for each other domain (UPC-1): the one
    at its address, else, for aggregates with a handler elsewhere, the handler's own.
    """
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
        RemoteUpcaster(endpoint_of(parts, Component("upcaster:remote", address)))
        if address
        else None
    )
    if shared is not None:
        return {**dict.fromkeys(_streams_of(parts), shared), **found}
    for component in parts.components.values():
        if is_aggregate(component.name) and component.domain not in found:
            if component.name not in parts.endpoints:
                raise InvalidInput(
                    "upcaster.address", "set, since the command handler is in this process", address
                )
            found[component.domain] = RemoteUpcaster(parts.endpoints[component.name])
    return found


def _streams_of(parts: Parts) -> Iterator[str]:
    """Domains of the aggregates that are known, decided on here or not, and of the process
    managers' own streams: whoever reads them here reads them upcast."""
    for name, component in parts.known.items():
        definition = parts.definitions.get(name)
        if is_aggregate(name):
            yield component.domain
        elif definition is not None and issubclass(definition, ProcessManager):
            yield definition.table().domain


def unselected(parts: Parts) -> dict[str, Commands]:
    """Coordinators of the aggregates that are not selected here, for what reacts here: those that
    are configured, else the server that has the store (DEP-11).
    """
    found: dict[str, Commands] = {}
    for name, component in parts.known.items():
        if not is_aggregate(name) or name in parts.components:
            continue
        # gRPC is loaded only where something is remote.
        from angzarr.rpc.remote import RemoteCoordinator

        if component.role == COORDINATOR and not component.is_local:
            found[component.domain] = RemoteCoordinator(endpoint_of(parts, component))
        elif parts.config.storage.type == "grpc":
            owner = parts.endpoints.get(STORE_OWNER) or endpoint_of(
                parts, Component(STORE_OWNER, parse_endpoint(parts.config.storage.address, ""))
            )
            found[component.domain] = RemoteCoordinator(owner)
    return found


def check_reached(reactors: Reactors, domains: set[str]) -> None:
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


def destinations_of(
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
            from angzarr.rpc.queries_client import RemoteQueries

            far[domain] = QueryDestinations(RemoteQueries(endpoint), [domain])
    local = StoreDestinations(parts.stores.events, near, Lineage(parts.stores))
    return RoutedDestinations(local, far) if far else local


def is_aggregate(name: str) -> bool:
    return name.startswith("aggregate:")


def endpoint_of(parts: Parts, component: Component) -> Endpoint:
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
        health=_health_of(component),
    )
    endpoint.start()
    parts.endpoints[component.name] = endpoint
    return endpoint


def _health_of(component: Component) -> str:
    """What of a process is waited for: of a client's all, of ours the component."""
    if component.name == STORE_OWNER:
        return "angzarr.StoreService"
    return component.name if component.is_ours else ""


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
