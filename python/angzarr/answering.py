"""Which services a process answers: for what reacts in it, and for what it has elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from operator import attrgetter

from angzarr.aggregates import endpoint_of
from angzarr.components import Component
from angzarr.coordinators import DlqAdmin
from angzarr.coordinators.process_manager import consumer_name as manager_consumer
from angzarr.coordinators.projector import consumer_name as projector_consumer
from angzarr.coordinators.projector_service import Projector as ServedProjector
from angzarr.coordinators.projector_service import ProjectorService
from angzarr.coordinators.reaction_services import ProcessManager as ServedManager
from angzarr.coordinators.reaction_services import ProcessManagerService, SagaService
from angzarr.coordinators.reaction_services import Saga as ServedSaga
from angzarr.coordinators.saga import consumer_name as saga_consumer
from angzarr.coordinators.seeing import widened
from angzarr.coordinators.turns import Turns
from angzarr.handlers.local_process_manager import LocalProcessManager
from angzarr.handlers.local_projector import LocalProjector
from angzarr.handlers.local_saga import LocalSaga
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.projector import Projector
from angzarr.handlers.saga import Saga
from angzarr.local_transport import Unary
from angzarr.parts import Parts
from angzarr.projectors import query_rpcs
from angzarr.reactors import elsewhere
from angzarr.routing import Commands
from angzarr.rpc.forwarding import forwarded_rpcs
from angzarr.rpc.reactions import reaction_rpcs
from angzarr.rpc.remote_services import (
    ProcessManagerElsewhere,
    ProjectorElsewhere,
    SagaElsewhere,
)
from angzarr.rpc.services import (
    DEAD_LETTERS,
    Rpc,
    process_manager_rpcs,
    projector_rpcs,
    saga_rpcs,
)


def answered(parts: Parts) -> Iterator[Rpc]:
    """The coordinators' services, and the selected query services.

    What is selected here and runs in another process of ours is asked there, so that clients need
    not know (DEP-12).
    """
    reacting = parts.reacting
    turns = reacting.turns if reacting else Turns()
    sagas: list[ServedSaga] = list(reacting.sagas) if reacting else []
    managers: list[ServedManager] = list(reacting.managers) if reacting else []
    projectors: list[ServedProjector] = list(reacting.projectors) if reacting else []
    if reacting and (sagas or managers or projectors):
        yield from reaction_rpcs(
            {item.name: item for item in (*reacting.sagas, *reacting.managers)},
            turns,
            {item.component: item for item in reacting.projectors},
        )
    sagas += _sagas_elsewhere(parts)
    managers += _managers_elsewhere(parts)
    projectors += _projectors_elsewhere(parts)
    if sagas:
        yield from saga_rpcs(SagaService(sorted(sagas, key=attrgetter("name")), turns))
    if managers:
        in_order = sorted(managers, key=attrgetter("name"))
        yield from process_manager_rpcs(ProcessManagerService(in_order, turns))
    if projectors:
        yield from projector_rpcs(
            ProjectorService(sorted(projectors, key=attrgetter("component")), turns)
        )
    yield from _queries(parts)


def dead_letters(parts: Parts, commands: Commands | None) -> DlqAdmin:
    """What administers the dead letters: those of components elsewhere are redelivered there."""
    return DlqAdmin(
        parts.stores.dead_letters,
        commands=commands,
        sequences=parts.stores.events,
        redelivery=parts.reacting,
        elsewhere=_redelivered_elsewhere(parts),
        message_bytes_max=parts.config.server.message_size_kb * 1024,
    )


def _redelivered_elsewhere(parts: Parts) -> Mapping[str, Unary]:
    path = f"/{DEAD_LETTERS}/Redeliver"
    kinds = ("saga", "process_manager", "projector")
    return {
        component.name: partial(parts.endpoints[component.name].unary, path)
        for kind in kinds
        for component, _ in _elsewhere(parts, kind)
    }


def _elsewhere(parts: Parts, kind: str) -> Iterator[tuple[Component, type[object]]]:
    """Those that are selected here: what others have is not answered for."""
    for component, definition in elsewhere(parts, kind):
        if component.name in parts.components:
            yield component, definition


def _sagas_elsewhere(parts: Parts) -> Iterator[SagaElsewhere]:
    for component, definition in _elsewhere(parts, "saga"):
        assert issubclass(definition, Saga)
        yield SagaElsewhere(
            component.name,
            saga_consumer(component.domain),
            widened(LocalSaga(definition).subscriptions, parts.upcasters),
            parts.endpoints[component.name],
        )


def _managers_elsewhere(parts: Parts) -> Iterator[ProcessManagerElsewhere]:
    for component, definition in _elsewhere(parts, "process_manager"):
        assert issubclass(definition, ProcessManager)
        local = LocalProcessManager(definition)
        yield ProcessManagerElsewhere(
            component.name,
            local.domain,
            manager_consumer(component.domain),
            widened(local.subscriptions, parts.upcasters),
            parts.endpoints[component.name],
        )


def _projectors_elsewhere(parts: Parts) -> Iterator[ProjectorElsewhere]:
    for component, definition in _elsewhere(parts, "projector"):
        assert issubclass(definition, Projector)
        local = LocalProjector(definition)
        yield ProjectorElsewhere(
            component.name,
            projector_consumer(component.domain),
            local.subscriptions,
            local.editions,
            parts.endpoints[component.name],
        )


def _queries(parts: Parts) -> Iterator[Rpc]:
    """The selected query services, those in other processes passed on to them."""
    for name, component in parts.components.items():
        definition = parts.definitions.get(name)
        if component.kind == "query" and definition is not None:
            assert issubclass(definition, Projector)
            service = definition.query_service()
            if component.is_local:
                yield from query_rpcs(definition, parts.config)
            elif service is not None:
                endpoint = endpoint_of(parts, component)
                yield from forwarded_rpcs(service.add_to_server, endpoint)
