"""What a running app is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from angzarr.components import Component
from angzarr.config import Config
from angzarr.coordinators import (
    CommandCoordinator,
    EditionCoordinator,
    QueryCoordinator,
    StreamCoordinator,
)
from angzarr.coordinators.counters import Counters
from angzarr.coordinators.edition_reaper import EditionReaper
from angzarr.coordinators.speculations import Speculations
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.projector import Projector
from angzarr.handlers.saga import Saga
from angzarr.handlers.upcaster import Upcaster
from angzarr.local_transport import Calls
from angzarr.ports.clock import Clock
from angzarr.ports.components import Upcaster as Upcasting
from angzarr.ports.stores import Stores
from angzarr.reacting import Reacting
from angzarr.routing import Commands, Histories

if TYPE_CHECKING:
    from angzarr.branches import Branches
    from angzarr.rpc.remote import Endpoint

Definition = type[Aggregate] | type[Saga] | type[ProcessManager] | type[Projector] | type[Upcaster]


@dataclass(slots=True)
class Parts:
    """A running app's parts. components: the selected ones by name; known: all of them.
    definitions: the classes of components, by name.

    branches: makes branches in memory; None where no aggregate is decided on here.
    reacting: what runs beside requests; None where nothing does. reaper: of expired editions.
    endpoints: connections to remote components, by component name.
    upcasters: by domain.
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
    history: Histories | None = None
    streams: StreamCoordinator | None = None
    branches: Branches | None = None
    speculations: Speculations | None = None
    editions: EditionCoordinator | None = None
    reaper: EditionReaper | None = None
    reacting: Reacting | None = None
    counters: Counters = field(default_factory=Counters)
    calls: Calls = field(default_factory=lambda: Calls({}, {}))
    upcasters: Mapping[str, Upcasting] = field(default_factory=dict[str, "Upcasting"])
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
            if self.reaper:
                stack.push_async_callback(self.reaper.stop)
            if self.reacting:
                stack.push_async_callback(self.reacting.stop)
