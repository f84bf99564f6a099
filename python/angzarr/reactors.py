"""The sagas, process managers and projectors of a running app: those in this process, those of
clients that are fed from here, and those in other processes that requests wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from angzarr.aggregates import endpoint_of
from angzarr.components import COORDINATOR, Component
from angzarr.config_targets import ManagerTarget, ProjectorTarget, Reactor, SagaTarget
from angzarr.coordinators.process_manager import consumer_name as manager_consumer
from angzarr.coordinators.projector import consumer_name as projector_consumer
from angzarr.coordinators.saga import consumer_name as saga_consumer
from angzarr.coordinators.seeing import widened
from angzarr.coordinators.sync_projectors import Projecting as RequestedProjector
from angzarr.coordinators.synchronous import Reacting as RequestedReaction
from angzarr.errors import InvalidInput
from angzarr.handlers.local_process_manager import LocalProcessManager
from angzarr.handlers.local_projector import LocalProjector
from angzarr.handlers.local_saga import LocalSaga
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.projector import Projector
from angzarr.handlers.saga import Saga
from angzarr.parts import Parts
from angzarr.ports.components import ProcessManager as ProcessManagerPort
from angzarr.ports.components import Projector as ProjectorPort
from angzarr.ports.components import Saga as SagaPort
from angzarr.ports.components import Subscription
from angzarr.reacting import Reactors

EVERY_EDITION = "*"

T = TypeVar("T", bound=Reactor)


def reactors_of(parts: Parts) -> Reactors:
    """What is selected here, and what requests here wait for elsewhere.

    Raises InvalidInput for a client's component without subscriptions.
    """
    sagas: list[SagaPort] = []
    managers: list[ProcessManagerPort] = []
    projectors: list[type[Projector]] = []
    fed: list[ProjectorPort] = []
    for component in parts.components.values():
        definition = parts.definitions.get(component.name)
        if not component.is_local:
            if component.role != COORDINATOR:
                _add_client(parts, component, sagas, managers, fed)
        elif definition is None or component.kind == "query":
            continue
        elif issubclass(definition, Saga):
            sagas.append(LocalSaga(definition))
        elif issubclass(definition, ProcessManager):
            managers.append(LocalProcessManager(definition))
        elif issubclass(definition, Projector):
            projectors.append(definition)
    return Reactors(
        sagas,
        managers,
        projectors,
        fed,
        _distant_reactions(parts, "saga"),
        _distant_reactions(parts, "process_manager"),
        _distant_projectors(parts),
    )


def _add_client(
    parts: Parts,
    component: Component,
    sagas: list[SagaPort],
    managers: list[ProcessManagerPort],
    projectors: list[ProjectorPort],
) -> None:
    """A handler behind an endpoint, that is fed from here."""
    match component.kind:
        case "saga":
            sagas.append(_client_saga(parts, component))
        case "process_manager":
            managers.append(_client_manager(parts, component))
        case "projector":
            projectors.append(_client_projector(parts, component))
        case _:
            return  # aggregates and query services are put together elsewhere


def _client_saga(parts: Parts, component: Component) -> SagaPort:
    from angzarr.rpc.remote_reactions import RemoteSaga

    definition = parts.definitions.get(component.name)
    endpoint = endpoint_of(parts, component)
    if definition is not None and issubclass(definition, Saga):
        local = LocalSaga(definition)
        return RemoteSaga(component.name, endpoint, local.subscriptions, local.targets)
    target = _target(parts.config.sagas, SagaTarget(name=component.domain))
    wanted = _wanted(parts, component, target)
    return RemoteSaga(component.name, endpoint, wanted, tuple(target.targets), target.routing)


def _client_manager(parts: Parts, component: Component) -> ProcessManagerPort:
    from angzarr.rpc.remote_reactions import RemoteProcessManager

    definition = parts.definitions.get(component.name)
    endpoint = endpoint_of(parts, component)
    if definition is not None and issubclass(definition, ProcessManager):
        local = LocalProcessManager(definition)
        return RemoteProcessManager(
            component.name, local.domain, endpoint, local.subscriptions, local.targets
        )
    target = _target(parts.config.process_managers, ManagerTarget(name=component.domain))
    wanted = _wanted(parts, component, target)
    domain = target.domain or component.domain
    return RemoteProcessManager(component.name, domain, endpoint, wanted, tuple(target.targets))


def _client_projector(parts: Parts, component: Component) -> ProjectorPort:
    from angzarr.rpc.remote import RemoteProjector

    definition = parts.definitions.get(component.name)
    endpoint = endpoint_of(parts, component)
    if definition is not None and issubclass(definition, Projector):
        local = LocalProjector(definition)
        return RemoteProjector(
            component.name,
            endpoint,
            local.subscriptions,
            editions=local.editions,
            is_synchronous=local.is_synchronous,
        )
    target = _target(parts.config.projectors, ProjectorTarget(name=component.domain))
    return RemoteProjector(
        component.name,
        endpoint,
        _wanted(parts, component, target),
        editions=None if EVERY_EDITION in target.editions else tuple(target.editions),
        is_synchronous=target.synchronous,
    )


def _target(listed: Sequence[T], unsaid: T) -> T:
    """What the configuration says of the component of this name; `unsaid` if nothing."""
    return next((target for target in listed if target.name == unsaid.name), unsaid)


def _wanted(parts: Parts, component: Component, target: Reactor) -> tuple[Subscription, ...]:
    found = target.wanted(parts.config.subscriptions)
    if not found:
        section = f"{component.kind}s"
        raise InvalidInput(
            f"{section}.subscriptions",
            "domain:TypeA,TypeB;domain2",
            "none",
            f"{component.name} has no subscriptions: give it some in {section}, or by "
            "ANGZARR_SUBSCRIPTIONS",
        )
    return found


def elsewhere(parts: Parts, kind: str) -> list[tuple[Component, type[object]]]:
    """Components of ours in other processes, with their classes: those that requests here have to
    wait for, selected or not.
    """
    found: list[tuple[Component, type[object]]] = []
    for name, known in parts.known.items():
        component = parts.components.get(name, known)
        definition = parts.definitions.get(name)
        is_elsewhere = component.role == COORDINATOR and not component.is_local
        if component.kind == kind and is_elsewhere:
            if definition is None:
                raise InvalidInput(
                    f"components.{name}.role",
                    "handler, for a component that no loaded module defines",
                    component.role,
                )
            found.append((component, definition))
    return found


def _distant_reactions(parts: Parts, kind: str) -> list[RequestedReaction]:
    found: list[RequestedReaction] = []
    for component, definition in elsewhere(parts, kind):
        from angzarr.rpc.remote_components import RemoteReaction

        if issubclass(definition, Saga):
            consumer, local = saga_consumer(component.domain), LocalSaga(definition)
        else:
            assert issubclass(definition, ProcessManager)
            consumer, local = manager_consumer(component.domain), LocalProcessManager(definition)
        endpoint = endpoint_of(parts, component)
        subscriptions = widened(local.subscriptions, parts.upcasters)
        found.append(RemoteReaction(component.name, consumer, subscriptions, endpoint))
    return found


def _distant_projectors(parts: Parts) -> list[RequestedProjector]:
    found: list[RequestedProjector] = []
    for component, definition in elsewhere(parts, "projector"):
        from angzarr.rpc.remote_components import RemoteProjection

        assert issubclass(definition, Projector)
        local = LocalProjector(definition)
        found.append(
            RemoteProjection(
                component.name,
                projector_consumer(component.domain),
                local.subscriptions,
                local.is_synchronous,
                endpoint_of(parts, component),
                editions=local.editions,
            )
        )
    return found
