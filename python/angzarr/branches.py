"""Branches of what a running app stores, in memory: the app's own handlers over an overlay
(SPEC-6)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from angzarr import keeping, wire
from angzarr.aggregates import command_options
from angzarr.config import Config
from angzarr.coordinators import CommandCoordinator, CommandOptions, QueryCoordinator, audit, books
from angzarr.coordinators.destinations import StoreDestinations
from angzarr.coordinators.options import QueryOptions
from angzarr.coordinators.slots import Component
from angzarr.coordinators.speculations import NOW, Moment, Speculations
from angzarr.coordinators.validate import SYSTEM
from angzarr.cover import Cover
from angzarr.errors import EditionGone, RemoteError, UnknownDomain
from angzarr.ports.clock import Clock
from angzarr.ports.components import CallContext, Upcaster
from angzarr.ports.event_store import EventStore
from angzarr.ports.stores import Stores
from angzarr.reacting import Reacting, Reactors, Synchrony, build
from angzarr.routing import Commands, RoutedCommands
from angzarr.stores.overlay import OverlayStores, Point, lay_over

QUIET: Final[Mapping[str, object]] = {
    "saga_compensation.escalation_webhook_url": "",
    "saga_compensation.dead_letter_queue_url": "",
}
"""What would be heard of outside."""


@dataclass(slots=True)
class Branch:
    """A branch in memory: what answers its calls, and what reacts there. branches: of this one."""

    edition: str
    stores: OverlayStores
    base: Stores
    commands: Commands
    queries: QueryCoordinator
    coordinator: CommandCoordinator
    branches: Branches
    speculations: Speculations
    reacting: Reacting | None = None
    is_following: bool = field(default=False)

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → CommandResponse."""
        return await self.commands.handle_command(request, context)

    async def follow(self) -> None:
        """Have sagas and process managers react to all that is written, from now on."""
        if self.reacting is not None and not self.is_following:
            await self.reacting.start()
            self.is_following = True

    async def rest(self) -> None:
        """Return when nothing is under way; timers that are due later are not waited for."""
        if self.reacting is None:
            return
        if self.is_following:
            await self.reacting.settled()
            return
        while await self.reacting.duties.run_due():
            pass

    def changed(self) -> Sequence[Cover]:
        """The streams that were written to, in the order (domain, edition, root)."""
        covers = {
            written.cover.stream: replace(written.cover, correlation_id="")
            for written in self.stores.events.written
            if written.pages and written.cover.domain != SYSTEM
        }
        return [covers[stream] for stream in sorted(covers)]

    async def state(self, cover: Cover, context: CallContext) -> wire.StateResponse:
        """Without a state where no handler of this process computes states of the domain."""
        told = wire.Cover.FromString(books.cover_bytes(cover))
        query = wire.Query(cover=told)
        try:
            answer = await self.coordinator.get_state(query.SerializeToString(), context)
        except (UnknownDomain, RemoteError) as error:
            if isinstance(error, RemoteError) and error.code != "UNIMPLEMENTED":
                raise
            following = await self.stores.events.next_sequence(cover)
            return wire.StateResponse(cover=told, next_sequence=following)
        return wire.StateResponse.FromString(answer)

    async def store(self, name: str) -> None:
        """Make an edition of it (SPEC-7); the errors of `keeping.keep`."""
        await self.rest()
        reacting = self.reacting
        consumers = [] if reacting is None else [*reacting.sagas, *reacting.managers]
        await keeping.keep(
            self.stores, self.base, self.edition, name, [item.consumer for item in consumers]
        )

    async def close(self) -> None:
        """Stop what reacts, and forget everything."""
        if self.reacting is not None:
            await self.reacting.stop()
        await self.coordinator.close()
        await self.stores.close()


class Branches:
    """Makes branches.

    components: the handlers of this process in their slots, by domain. elsewhere: domains whose
    commands are decided in other processes, where a branch does not reach. reactors: what reacts in
    this process; projectors do not run on branches, as their rows are real.
    """

    def __init__(
        self,
        config: Config,
        stores: Stores,
        clock: Clock,
        *,
        components: Mapping[str, Component],
        elsewhere: Sequence[str],
        reactors: Reactors,
        upcasters: Mapping[str, Upcaster],
    ) -> None:
        self._config = config
        self._stores = stores
        self._clock = clock
        self._components = components
        self._elsewhere = {domain: _Unreached(domain) for domain in elsewhere}
        self._reactors = Reactors(sagas=reactors.sagas, managers=reactors.managers)
        self._upcasters = upcasters

    @asynccontextmanager
    async def open(
        self, edition: str, moment: Moment = NOW, *, reactions: bool
    ) -> AsyncGenerator[Branch, None]:
        """As the port `coordinators.speculations.Branches` says.

        Raises InvalidInput for a moment that never was, and what the store raises.
        """
        stores = await self._lay_over(edition, moment)
        branch = self._branch(edition, stores, reactions=reactions)
        try:
            yield branch
        finally:
            await branch.close()

    async def _lay_over(self, edition: str, moment: Moment) -> OverlayStores:
        point = Point(moment.position, moment.until_ns, moment.stream, moment.sequence + 1)
        guard = _Guard(self._stores.events)
        stores = await lay_over(
            self._stores,
            point,
            clock=self._clock,
            limits=self._config.limits.store,
            guard=guard.check,
        )
        guard.head = stores.lender.head
        await stores.know_edition(edition)
        return stores

    def _branch(self, edition: str, stores: OverlayStores, *, reactions: bool) -> Branch:
        synchrony = Synchrony(stores, self._clock, self._config) if reactions else None
        local = CommandCoordinator(
            stores,
            self._components,
            options=self._command_options,
            upcasters=self._upcasters,
            clock=self._clock,
            reactions=synchrony.requests if synchrony else None,
        )
        queries = QueryCoordinator(
            stores.events, upcasters=self._upcasters, options=self._query_options
        )
        commands = RoutedCommands(local, self._elsewhere) if self._elsewhere else local
        inner = self._over(stores)
        branch = Branch(
            edition,
            stores,
            self._stores,
            commands,
            queries,
            local,
            inner,
            Speculations(inner, self._command_options),
        )
        if synchrony is not None:
            branch.reacting = build(
                self._reactors,
                synchrony,
                config=self._quiet_config,
                stores=stores,
                clock=self._clock,
                commands=commands,
                destinations=StoreDestinations(
                    stores.events, {*self._components, *self._elsewhere}
                ),
                command_options=self._command_options,
                upcasters=self._upcasters,
                publish=None,
            )
        return branch

    def _over(self, stores: Stores) -> Branches:
        """The same over another store."""
        made = copy(self)
        made._stores = stores
        return made

    @cached_property
    def _quiet_config(self) -> Config:
        return self._config.with_code(QUIET)

    @cached_property
    def _command_options(self) -> CommandOptions:
        """Without automatic snapshots, which would be gone before they are of use."""
        options = command_options(self._config)
        return replace(
            options,
            snapshots=replace(options.snapshots, every=0),
            domain_snapshots={
                domain: replace(chosen, every=0)
                for domain, chosen in options.domain_snapshots.items()
            },
        )

    @cached_property
    def _query_options(self) -> QueryOptions:
        config = self._config
        return QueryOptions(
            config.server.message_size_kb * 1024,
            config.limits.query_result_limit,
            config.query.allow_raw,
        )


class _Guard:
    """Tells whether an edition was deleted since `head`: by the audit pages of that (EDN-16)."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self.head = 0

    async def check(self, domain: str, edition: str) -> None:
        """Raise EditionGone if it was."""
        told = audit.stream_of(wire.DeleteEditionEvents, edition, domain, "")
        deleted = await self._events.next_sequence(told)
        if deleted and await self._events.length_at(told, self.head) < deleted:
            raise EditionGone(edition, domain)


class _Unreached:
    """Refuses what is for an aggregate of another process: it would be decided for real."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        raise self._error

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        raise self._error

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        raise self._error

    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes:
        raise self._error

    @property
    def _error(self) -> UnknownDomain:
        message = f"No aggregate registered for domain: {self._domain} on a branch in memory"
        return UnknownDomain(self._domain, f"{message}; it is decided in another process")
