"""What reacts to the events of a running app: sagas, process managers, projectors, and the workers
that feed them and keep their promises.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from angzarr import projectors
from angzarr.config import Config
from angzarr.coordinators.consumers import Consumers, ConsumerSpec, ConsumerState
from angzarr.coordinators.counters import Counters
from angzarr.coordinators.delivery import DeliveryOptions
from angzarr.coordinators.destinations import Destinations
from angzarr.coordinators.duties import Duties, Duty
from angzarr.coordinators.escalation import Webhook
from angzarr.coordinators.fallback import Fallback
from angzarr.coordinators.notifications import Notifications
from angzarr.coordinators.options import (
    Backoff,
    CommandOptions,
    CompensationOptions,
    DutyOptions,
    ReactionOptions,
    SyncOptions,
)
from angzarr.coordinators.process_manager import ProcessManagerCoordinator
from angzarr.coordinators.projector import ProjectorCoordinator, Publish, plain_projector
from angzarr.coordinators.reaction import Means
from angzarr.coordinators.replays import replay_in_place
from angzarr.coordinators.saga import SagaCoordinator
from angzarr.coordinators.sync_projectors import Projecting as RequestedProjector
from angzarr.coordinators.synchronous import Reacting as RequestedReaction
from angzarr.coordinators.synchronous import Synchronous
from angzarr.coordinators.turns import Turns
from angzarr.deadletters.filesystem import FilesystemDeadLetters
from angzarr.errors import DeadLetterRefused, InvalidInput, ReplayRunning
from angzarr.handlers.projector import Projector
from angzarr.ports.clock import Clock
from angzarr.ports.components import ProcessManager, Saga, Upcaster
from angzarr.ports.components import Projector as ProjectorPort
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.event_store import EventStore
from angzarr.ports.read_store import Progress
from angzarr.ports.stores import Stores
from angzarr.routing import Commands

OWNER: Final = "owner"
"""Names, in leases, the only process that has its store: it need not wait for its own old ones."""

LOOK_S: Final = 0.005
"""Between two looks whether everything is done."""

_log: Final = logging.getLogger("angzarr")


@dataclass(frozen=True, slots=True)
class Reactors:
    """What reacts. projectors: classes whose handlers are here. fed_projectors: others, which are
    fed from here and keep their rows themselves. distant_*: what other processes feed, and requests
    of this one wait for.
    """

    sagas: Sequence[Saga] = ()
    managers: Sequence[ProcessManager] = ()
    projectors: Sequence[type[Projector]] = ()
    fed_projectors: Sequence[ProjectorPort] = ()
    distant_sagas: Sequence[RequestedReaction] = ()
    distant_managers: Sequence[RequestedReaction] = ()
    distant_projectors: Sequence[RequestedProjector] = ()

    def __bool__(self) -> bool:
        """Whether anything is fed from here."""
        return bool(self.sagas or self.managers or self.projectors or self.fed_projectors)


class Synchrony:
    """Requests and reactions of one process, before either of them is complete: the command
    coordinator takes `requests`, and reactions send commands to it.
    """

    def __init__(self, stores: Stores, clock: Clock, config: Config) -> None:
        self.turns = Turns()
        depth = config.limits.max_cascade_depth
        self.requests = Synchronous(
            stores, clock, turns=self.turns, options=SyncOptions(max_cascade_depth=depth)
        )


@dataclass(slots=True)
class Reacting:
    """The running parts. `start` and `stop` are called once each."""

    events: EventStore
    turns: Turns
    consumers: Consumers
    duties: Duties
    sagas: list[SagaCoordinator] = field(default_factory=list[SagaCoordinator])
    managers: list[ProcessManagerCoordinator] = field(
        default_factory=list[ProcessManagerCoordinator]
    )
    projectors: list[ProjectorCoordinator] = field(default_factory=list[ProjectorCoordinator])
    replays: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])

    async def start(self) -> None:
        """Open read stores, feed consumers from the log, and fulfil obligations.

        Raises ReadStoreUnavailable, InvalidInput, FormatTooNew of a read store.
        """
        for projector in self.projectors:
            await projector.open()
        await self.duties.start()
        if self.consumers.states():  # else nobody here follows the log
            await self.consumers.start()

    async def stop(self) -> None:
        """Finish what runs, store cursors, and let go (OPS-3); whatever fails on the way."""
        for replay in tuple(self.replays.values()):
            replay.cancel()
            await asyncio.gather(replay, return_exceptions=True)
        async with contextlib.AsyncExitStack() as stack:
            for projector in self.projectors:
                stack.push_async_callback(projector.close)
            for manager in self.managers:
                stack.push_async_callback(manager.close)
            stack.push_async_callback(self.duties.stop)
            stack.push_async_callback(self.consumers.stop)

    async def settled(self) -> None:
        """Return when everything in the log has been reacted to here, what that led to included,
        and no obligation is due. What others feed, or what waits for a later time, is not waited
        for; nor does a poison event that is retried for ever end the wait.
        """
        while True:
            head = await self.events.log_head()
            states = self.consumers.states().values()
            if (
                all(state.position >= head for state in states if state.is_leading)
                and await self.duties.is_idle()
                and await self.events.log_head() == head
            ):
                return
            await asyncio.sleep(LOOK_S)

    def states(self) -> Mapping[str, ConsumerState]:
        """How each consumer is doing, by name."""
        return self.consumers.states()

    async def replay(
        self, projector: str, *, publishes: bool = False, progress: Progress | None = None
    ) -> None:
        """Delete the rows of a projector that is fed here, and feed it the log from its beginning
        (PROJ-9); returns when it has come to where the log ended, and goes on when the caller goes.

        projector: its bare name. publishes: whether projections are published meanwhile. Raises
        InvalidInput for an unknown one, ReplayRunning, NotPermitted while another process feeds it.
        """
        found = next((item for item in self.projectors if item.name == projector), None)
        if found is None:
            known = ", ".join(item.name for item in self.projectors) or "none"
            raise InvalidInput("name", f"a projector of this process: {known}", projector)
        if projector in self.replays:
            raise ReplayRunning(found.component)
        task = asyncio.get_running_loop().create_task(
            replay_in_place(
                found, self.consumers, self.events, publishes=publishes, progress=progress
            )
        )
        self.replays[projector] = task
        task.add_done_callback(lambda _: self.replays.pop(projector, None))
        await asyncio.shield(task)

    async def redeliver(self, component: str, book: bytes) -> None:
        """Dead events to their component once more (DLQ-10). Raises what the delivery fails of,
        DeadLetterRefused for a component that is not here.
        """
        here = {item.name for item in (*self.sagas, *self.managers)}
        if component not in here | {item.component for item in self.projectors}:
            known = ", ".join(sorted(here)) or "nothing that takes events"
            raise DeadLetterRefused(f"{component} is not in this process, which has {known}")
        await self.consumers.redeliver(component, book)


def build(
    reactors: Reactors,
    synchrony: Synchrony,
    *,
    config: Config,
    stores: Stores,
    clock: Clock,
    commands: Commands,
    destinations: Destinations,
    command_options: CommandOptions,
    upcasters: Mapping[str, Upcaster],
    publish: Publish | None,
    counters: Counters | None = None,
) -> Reacting:
    """Put the reactors together; nothing runs yet.

    commands, destinations: the aggregates that they reach, here or elsewhere. publish: takes what
    projectors show (PROJ-11). counters: where they count.
    """
    made = Reacting(
        stores.events,
        synchrony.turns,
        Consumers(
            stores,
            clock,
            synchrony.turns,
            options=delivery_options(config),
            holder="" if config.storage.type == "grpc" else OWNER,
        ),
        Duties(stores, clock, options=DutyOptions(lease_s=config.consumer.lease_s)),
    )
    options = compensation_options(config)
    notifications = Notifications(
        commands,
        stores.events,
        _fallback(stores, clock, config, options),
        clock,
        options=options,
    )
    means = Means(
        stores=stores,
        commands=commands,
        destinations=destinations,
        notifications=notifications,
        worker=made.duties,
        options=reaction_options(config),
        command_options=command_options,
        upcasters=upcasters,
        clock=clock,
        counters=counters or Counters(),
    )
    requests = synchrony.requests
    requests.log, requests.notifications, requests.duties = (
        made.consumers,
        notifications,
        made.duties,
    )
    duties: list[Duty] = list(notifications.duties())
    for saga in reactors.sagas:
        coordinator = SagaCoordinator(saga, means)
        duties += (*coordinator.duties, notifications.add_saga(coordinator.name, coordinator))
        made.consumers.add(_reaction_spec(coordinator, "saga", config))
        requests.add_saga(coordinator)
        made.sagas.append(coordinator)
    for manager in reactors.managers:
        coordinator = ProcessManagerCoordinator(manager, means)
        asked = notifications.add_process_manager(coordinator.component, coordinator)
        duties += (*coordinator.duties, asked)
        made.consumers.add(_reaction_spec(coordinator, "process_manager", config))
        requests.add_process_manager(coordinator)
        made.managers.append(coordinator)
    for duty in duties:
        made.duties.add(duty)
    for distant in reactors.distant_sagas:
        requests.add_saga(distant)
    for distant in reactors.distant_managers:
        requests.add_process_manager(distant)
    for distant in reactors.distant_projectors:
        requests.add_projector(distant)
    made.projectors += _projectors(reactors, config, stores, upcasters, publish, clock)
    for projector in made.projectors:
        made.consumers.add(_projector_spec(projector))
        requests.add_projector(projector)
    return made


def delivery_options(config: Config) -> DeliveryOptions:
    """How the log delivers, as configured."""
    delivery, consumer = config.delivery, config.consumer
    return DeliveryOptions(
        first_s=delivery.first_ms / 1_000,
        cap_s=delivery.cap_s,
        max_attempts=delivery.max_attempts,
        on_poison=delivery.on_poison,
        window=delivery.window,
        lease_s=consumer.lease_s,
        partitions=consumer.partitions,
    )


def reaction_options(config: Config) -> ReactionOptions:
    """The bounds of sagas and process managers, as configured."""
    delivery, limits = config.delivery, config.limits
    return ReactionOptions(
        handler_concurrency=limits.handler_concurrency,
        channel_capacity=limits.channel_capacity,
        head_start_s=config.consumer.lease_s,
        duties=Backoff(delivery.first_ms / 1_000, delivery.cap_s, delivery.max_attempts),
    )


def compensation_options(config: Config) -> CompensationOptions:
    """What is done about rejected commands, as configured."""
    said = config.saga_compensation
    return CompensationOptions(
        backoff=Backoff(first_s=0.1, cap_s=60.0, tries=said.max_attempts),
        fallback_domain=said.fallback_domain,
        fallback_emit_system_revocation=said.fallback_emit_system_revocation,
        fallback_send_to_dlq=said.fallback_send_to_dlq,
        fallback_escalate=said.fallback_escalate,
        escalation_webhook_url=said.escalation_webhook_url,
    )


def _fallback(
    stores: Stores, clock: Clock, config: Config, options: CompensationOptions
) -> Fallback:
    url = options.escalation_webhook_url
    return Fallback(
        stores.events,
        stores.dead_letters,
        clock,
        options=options,
        extra=_extra_target(config.saga_compensation.dead_letter_queue_url, clock),
        escalations=Webhook(url) if url else None,
    )


def _extra_target(url: str, clock: Clock) -> DeadLetterQueue | None:
    """`saga_compensation.dead_letter_queue_url`: a directory by its `file:///` URL."""
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        key = "saga_compensation.dead_letter_queue_url"
        raise InvalidInput(key, "file:///DIRECTORY, other queues are not in this release", url)
    return FilesystemDeadLetters(Path(unquote(parts.path)), clock)


def _projectors(
    reactors: Reactors,
    config: Config,
    stores: Stores,
    upcasters: Mapping[str, Upcaster],
    publish: Publish | None,
    clock: Clock,
) -> Iterable[ProjectorCoordinator]:
    for cls in reactors.projectors:
        _check_shown(cls.projector_table().name, config, publish)
        yield projectors.coordinator_of(
            cls, stores, config, upcasters=upcasters, publish=publish, clock=clock
        )
    for projector in reactors.fed_projectors:
        name = projector.name.partition(":")[2]
        is_shown = _check_shown(name, config, publish)
        yield plain_projector(
            projector,
            stores,
            options=projectors.options_by_name(name, config),
            upcasters=upcasters,
            publish=publish if is_shown else None,
            clock=clock,
        )


def _check_shown(name: str, config: Config, publish: Publish | None) -> bool:
    """Whether its projections are published, which needs the streams in the same process."""
    is_wanted = bool(config.projection.rule(name).stream_output)
    if is_wanted and publish is None:
        _log.warning("projector:%s shows nothing: stream:events is not in its process", name)
    return is_wanted


def _reaction_spec(
    coordinator: SagaCoordinator | ProcessManagerCoordinator, component_type: str, config: Config
) -> ConsumerSpec:
    """Editions: all, since what they do belongs to the source's edition (EDN-13)."""
    return ConsumerSpec(
        name=coordinator.consumer,
        component=coordinator.name,
        component_type=component_type,
        subscriptions=coordinator.subscriptions,
        deliver=coordinator.deliver,
        concurrency=config.delivery.concurrency,
        skips_without_correlation=component_type == "process_manager",
    )


def _projector_spec(projector: ProjectorCoordinator) -> ConsumerSpec:
    return ConsumerSpec(
        name=projector.consumer,
        component=projector.component,
        component_type="projector",
        subscriptions=projector.log_subscriptions,
        editions=projector.log_editions,
        deliver=projector.deliver,
        gave_up=projector.gave_up,
        begin=projector.begin,
        concurrency=projector.concurrency,
        keeps_positions=True,
    )
