"""A world of orders, shipments and ledgers, with what makes requests synchronous between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace

from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators import CommandCoordinator, books
from angzarr.coordinators.duties import Duties
from angzarr.coordinators.escalation import Escalation
from angzarr.coordinators.fallback import Fallback
from angzarr.coordinators.flow import (
    DEPTH,
    LOG_DELIVERY,
    Executed,
    Flow,
    Outcome,
    Refused,
    depth_of,
)
from angzarr.coordinators.notifications import Notifications
from angzarr.coordinators.options import CompensationOptions, SyncOptions
from angzarr.coordinators.provenance import METADATA, encoded
from angzarr.coordinators.subscriptions import Filter
from angzarr.coordinators.synchronous import Synchronous
from angzarr.coordinators.turns import Turns
from angzarr.cover import FACT, Cover, Provenance, root_of
from angzarr.errors import (
    AngzarrError,
    ReactionFailed,
    SequenceMismatch,
    StoreUnavailable,
)
from angzarr.ports.components import CallContext, Subscription
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import ManualClock

from .conftest import COMMAND, EVENT, Fields

ORDER = root_of("order-1")
PARCEL = root_of("parcel-1")
DOMAINS = ("order", "shipment", "ledger")
SOURCE = Cover("order", ORDER, correlation_id="c-1")
ORIGIN = Provenance(SOURCE, 0, "saga:shipping", 2)


class Crash(BaseException):
    """The process dies here."""


class Port:
    """A port whose calls are steps of the world, and that fails where it is told to.

    faults[name]: an exception, or a function that is called instead.
    """

    def __init__(self, real, world):
        self._real = real
        self._world = world
        self.faults = {}

    def __getattr__(self, name):
        real = getattr(self._real, name)

        async def call(*args, **options):
            with self._world.step(name):
                fault = self.faults.get(name)
                if isinstance(fault, Exception):
                    raise fault
                return await (fault(real, *args, **options) if fault else real(*args, **options))

        return call


@dataclass
class Sends:
    """A saga that sends the commands it is told to, as its coordinator would.

    commands: (domain, text) each. facts: the same. failure: what its handler raises.
    parks: the commands carry a stamp that is wrong, and are to be parked then.
    """

    world: World
    name: str = "saga:shipping"
    domain: str = "order"
    types: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    failure: AngzarrError | None = None
    parks: bool = False
    on: str = ""
    gate: Callable[[], Awaitable[object]] | None = None

    def __post_init__(self):
        self.seen = []
        self.flows = []
        self.entered = asyncio.Event()

    @property
    def consumer(self):
        return self.name.replace(":", "-").replace("_", "-")

    @property
    def subscriptions(self):
        return (Subscription(self.domain, self.types),)

    async def react(self, book: bytes, flow: Flow) -> Outcome:
        source = wire.EventBook.FromString(book)
        values = [page.event.value.decode() for page in source.pages]
        self.seen.append(values)
        self.flows.append(flow)
        self.entered.set()
        if self.on and self.on not in values:
            return Outcome()
        if self.gate:
            await self.gate()
        if self.failure:
            return Outcome(failure=self.failure)
        executed, refused, failure = [], [], None
        for index, (domain, text) in enumerate(self.commands):
            command = self._command(domain, text, source)
            origin = self._origin(source, index)
            try:
                answer = await self.world.commands.handle_command(
                    self._request(command, flow), self._context(origin, flow)
                )
            except StoreUnavailable as error:
                return Outcome(tuple(executed), tuple(refused), error)
            except ReactionFailed as error:
                stored = wire.EventBook.FromString(error.book)
                executed.append(Executed(index, stored, provenance=origin))
                failure = error
            except AngzarrError as error:
                is_parked = isinstance(error, SequenceMismatch) and error.is_parked
                if not is_parked:
                    await self.world.duties.record(
                        self.world.notifications.rejection(command, origin, str(error))
                    )
                refused.append(Refused(index, command, error, is_parked))
            else:
                response = wire.CommandResponse.FromString(answer)
                executed.append(
                    Executed(index, response.events, tuple(response.cascade_errors), origin)
                )
        for index, (domain, text) in enumerate(self.facts):
            origin = replace(self._origin(source, len(self.commands) + index), kind=FACT)
            try:
                await self.world.commands.handle_event(
                    self._fact(domain, text, source), self._context(origin, flow)
                )
            except AngzarrError as error:
                failure = error
                break
        return Outcome(tuple(executed), tuple(refused), failure)

    def _origin(self, source, index):
        last = source.pages[-1].header.sequence
        component = self.name.replace("process_manager:", "pm:")
        return Provenance(books.cover_of(source.cover), last, component, index)

    def _command(self, domain, text, source):
        command = wire.CommandBook()
        fill(command.cover, domain, source)
        strategy = wire.MERGE_MANUAL if self.parks else wire.MERGE_AGGREGATE_HANDLES
        page = command.pages.add(merge_strategy=strategy)
        page.header.sequence = 77 if self.parks else 0
        page.command.CopyFrom(Any(type_url=COMMAND, value=text.encode()))
        return command

    def _request(self, command, flow):
        request = wire.CommandRequest(
            command=command, sync_mode=flow.sync_mode, cascade_error_mode=flow.error_mode
        )
        if flow.cascade_id:
            request.cascade_id = flow.cascade_id
        return request.SerializeToString()

    def _fact(self, domain, text, source):
        request = wire.EventRequest()
        fill(request.events.cover, domain, source)
        page = request.events.pages.add()
        page.header.external_deferred.description = "fact"
        page.event.CopyFrom(Any(type_url=EVENT, value=text.encode()))
        return request.SerializeToString()

    def _context(self, origin, flow):
        metadata = {METADATA: encoded(origin)}
        if flow.is_cascade:
            metadata[DEPTH] = str(depth_of(flow.context) + 1)
        return CallContext(flow.context.deadline_ns, metadata)


def fill(cover, domain, source):
    """A target's cover: the parcel, on the source's edition and with its correlation id."""
    cover.CopyFrom(source.cover)
    cover.domain, cover.root.value = domain, PARCEL


@dataclass
class Shows:
    """A synchronous projector. failure: what it raises."""

    name: str = "projector:orders"
    domain: str = "order"
    is_synchronous: bool = True
    editions: tuple[str, ...] | None = ("main",)
    failure: Exception | None = None
    gate: Callable[[], Awaitable[object]] | None = None

    def __post_init__(self):
        self.books = []
        self.contexts = []
        self.entered = asyncio.Event()

    @property
    def consumer(self):
        return self.name.replace(":", "-")

    @property
    def subscriptions(self):
        return (Subscription(self.domain),)

    @property
    def shown(self):
        """(sequence, value, whether committed) of all pages, in order."""
        return [
            (page.header.sequence, page.event.value.decode(errors="replace"), page.committed)
            for book in self.books
            for page in book.pages
        ]

    async def project(self, book, context):
        self.entered.set()
        if self.gate:
            await self.gate()
        if self.failure:
            raise self.failure
        self.books.append(wire.EventBook.FromString(book))
        self.contexts.append(context)
        last = self.books[-1].pages[-1].header.sequence
        return wire.Projection(projector=self.name, sequence=last).SerializeToString()


class Marks:
    """The log's consumers, as far as requests know them; what is marked is durable."""

    def __init__(self, world):
        self.marked = set()
        self.failure = None
        self._world = world

    async def advance(self, consumer, cover, sequence):
        with self._world.step("advance"):
            if self.failure:
                raise self.failure
            self.marked.add((consumer, cover.stream, sequence))


class Webhooks:
    """Takes escalations, or fails."""

    def __init__(self):
        self.told: list[Escalation] = []
        self.failure = None

    async def escalate(self, escalation):
        if self.failure:
            raise self.failure
        self.told.append(escalation)


class World:
    """All of it over one store; `restart` is another process on the same store.

    calls: names of all steps so far, those of ports and of the log. At the step `dies_at`, counted
    from 1, the process dies: before it or, with `dies_after`, after it; and from then on.
    """

    def __init__(self):
        self.clock = ManualClock()
        self.real = open_stores("memory://", clock=self.clock)
        self.calls = []
        self.dies_at, self.dies_after = 0, False
        self.events = Port(self.real.events, self)
        self.obligations = Port(self.real.obligations, self)
        self.dead_letters = Port(self.real.dead_letters, self)
        self.handlers = {domain: Fields(domain) for domain in DOMAINS}
        for domain, handler in self.handlers.items():
            handler.answer = self.deciding(domain)
        self.refused = {}
        self.compensates = True
        self.webhooks = Webhooks()
        self.extra = None
        self.log = Marks(self)
        self.sagas = []
        self.managers = []
        self.projectors = []
        self.sync_options = SyncOptions()
        self.options = CompensationOptions()
        self.restart()

    snapshots = property(lambda self: self.real.snapshots)
    positions = property(lambda self: self.real.positions)

    @contextmanager
    def step(self, name):
        """One step, at which the process may die."""
        self.calls.append(name)
        count, at = len(self.calls), self.dies_at
        if at and (count > at or (count == at and not self.dies_after)):
            raise Crash
        yield
        if at and count == at:
            raise Crash

    def restart(self):
        """New coordinators over the same store; everything in memory is gone."""
        self.dies_at = 0
        self.turns = Turns()
        self.duties = Duties(self, self.clock)
        self.fallback = Fallback(
            self.events,
            self.dead_letters,
            self.clock,
            options=self.options,
            extra=self.extra,
            escalations=self.webhooks,
        )
        self.sync = Synchronous(
            self,
            self.clock,
            turns=self.turns,
            log=self.log,
            notifications=(notifications := self._notifications()),
            duties=self.duties,
            options=self.sync_options,
        )
        self.notifications = notifications
        self.commands = CommandCoordinator(
            self, self.handlers, clock=self.clock, reactions=self.sync, sleep=self._sleep
        )
        self.to.commands = self.commands
        for duty in self.notifications.duties():
            self.duties.add(duty)
        for saga in self.sagas:
            self.sync.add_saga(self.near(saga))
        for manager in self.managers:
            self.sync.add_process_manager(self.near(manager))
        for projector in self.projectors:
            self.sync.add_projector(self.near(projector))

    def _notifications(self):
        self.to = Route()
        return Notifications(self.to, self.events, self.fallback, self.clock, options=self.options)

    async def _sleep(self, delay_s):
        await asyncio.sleep(0)

    def near(self, component):
        """What requests are given of it; it may be elsewhere."""
        return component

    def deciding(self, domain):
        """A handler that refuses what is in `refused`, takes notice of notifications, and makes an
        event of everything else.
        """

        def answer(asked):
            page = asked.command.pages[0]
            name = books.full_name(page.command.type_url)
            if name == "angzarr.Notification":
                if not self.compensates:
                    return wire.BusinessResponse()
                told = wire.Notification.FromString(page.command.value)
                kind = books.full_name(told.payload.type_url).rpartition(".")[2]
                return response(f"{kind}=1")
            text = page.command.value.decode()
            if text in self.refused:
                raise self.refused[text]
            return response(text)

        return answer

    def saga(self, name="saga:shipping", **options):
        """Add a saga."""
        made = Sends(self, name, **options)
        self.sagas.append(made)
        self.sync.add_saga(self.near(made))
        return made

    def manager(self, name="process_manager:fulfilment", **options):
        """Add a process manager."""
        made = Sends(self, name, **options)
        self.managers.append(made)
        self.sync.add_process_manager(self.near(made))
        return made

    def projector(self, name="projector:orders", **options):
        """Add a projector."""
        made = Shows(name, **options)
        self.projectors.append(made)
        self.sync.add_projector(self.near(made))
        return made

    async def send(
        self,
        text="paid=1",
        *,
        mode=wire.SYNC_MODE_CASCADE,
        errors=wire.CASCADE_ERROR_FAIL_FAST,
        cascade_id="",
        correlation_id="c-1",
        metadata=None,
        deadline_ns=None,
        domain="order",
        root=ORDER,
        edition="",
    ):
        """A client's command to the order."""
        request = wire.CommandRequest(sync_mode=mode, cascade_error_mode=errors)
        cover = request.command.cover
        cover.domain, cover.root.value, cover.correlation_id = domain, root, correlation_id
        if edition:
            cover.edition.name = edition
        page = request.command.pages.add(merge_strategy=wire.MERGE_AGGREGATE_HANDLES)
        page.command.CopyFrom(Any(type_url=COMMAND, value=text.encode()))
        if cascade_id:
            request.cascade_id = cascade_id
        answer = await self.commands.handle_command(
            request.SerializeToString(), CallContext(deadline_ns, metadata or {})
        )
        return wire.CommandResponse.FromString(answer)

    async def record(self, text="paid=1", *, mode=wire.SYNC_MODE_CASCADE):
        """A fact about the order."""
        request = wire.EventRequest(sync_mode=mode)
        cover = request.events.cover
        cover.domain, cover.root.value, cover.correlation_id = "order", ORDER, "c-1"
        page = request.events.pages.add()
        page.header.external_deferred.external_id = text
        page.event.CopyFrom(Any(type_url=EVENT, value=text.encode()))
        answer = await self.commands.handle_event(request.SerializeToString(), CallContext())
        return wire.FactInjectionResponse.FromString(answer)

    async def deliver(self):
        """The log's consumers: each entry to each reaction that wants it and has not had it."""
        for entry in await self.real.events.tail(0):
            book = wire.EventBook.FromString(entry.book)
            cover, last = books.cover_of(book.cover), book.pages[-1].header.sequence
            for reaction in (*self.sagas, *self.managers):
                await self.turns.settled(
                    reaction.consumer, cover, book.pages[0].header.sequence, last
                )
                wanted = Filter(reaction.subscriptions).book(entry.book)
                mark = reaction.consumer, cover.stream, last
                if wanted is None or mark in self.log.marked:
                    continue
                outcome = await reaction.react(wanted, LOG_DELIVERY)
                if outcome.failure is None:
                    self.log.marked.add(mark)

    async def settle(self):
        """Let the worker do everything, however long it takes."""
        for _ in range(100):
            self.clock.advance(120)
            if not await self.duties.run_due():
                return
        raise AssertionError("the worker never rests")

    async def values(self, domain="order", *, root=None, edition=""):
        """The events of a stream, as they are stored."""
        cover = Cover(domain, root or (ORDER if domain == "order" else PARCEL), edition)
        book = wire.EventBook.FromString((await self.real.events.load(cover)).data)
        return [
            books.full_name(page.event.type_url)
            if page.event.type_url.startswith("type.angzarr.io")
            else page.event.value.decode()
            for page in book.pages
        ]

    async def letters(self):
        """The dead letters, newest first."""
        found = await self.real.dead_letters.list()
        return [wire.AngzarrDeadLetter.FromString(item.letter) for item in found]

    async def open(self):
        """Kinds of the open obligations; their leases are left as they are."""
        found = self.real.obligations._open.values()
        return sorted(obligation.kind for obligation, _ in found)

    def told(self, domain="order"):
        """The notifications that a domain's handler was given: their payloads."""
        found = []
        for asked in self.handlers[domain].seen:
            for page in asked.command.pages:
                if books.full_name(page.command.type_url) == "angzarr.Notification":
                    payload = wire.Notification.FromString(page.command.value).payload
                    kind = getattr(wire, books.full_name(payload.type_url).rpartition(".")[2])
                    found.append(kind.FromString(payload.value))
        return found

    async def close(self):
        await self.commands.close()
        await self.real.close()


class Route:
    """Commands whose coordinator is made later."""

    commands: CommandCoordinator

    def __getattr__(self, name):
        return getattr(self.commands, name)


def response(*texts):
    """An answer with one event a text."""
    made = wire.BusinessResponse()
    for text in texts:
        made.events.pages.add().event.CopyFrom(Any(type_url=EVENT, value=text.encode()))
    return made


def ship(text="ship=1", *, correlation_id="c-1", header=None):
    """A command to the parcel."""
    command = wire.CommandBook()
    cover = command.cover
    cover.domain, cover.root.value, cover.correlation_id = "shipment", PARCEL, correlation_id
    page = command.pages.add(header=header)
    page.command.CopyFrom(Any(type_url=COMMAND, value=text.encode()))
    return command


async def rejected(world, *, reason="no trucks", origin=ORIGIN, command=None):
    """Record that the command was rejected."""
    command = command or ship()
    await world.duties.record(world.notifications.rejection(command, origin, reason))
    return command


def answering(world, answer, domain="order"):
    """Have the source answer notifications with a message, or an error."""

    def decide(asked):
        if isinstance(answer, Exception):
            raise answer
        return answer

    world.handlers[domain].answer = decide


async def failures(world):
    """All SagaCompensationFailed that were stored."""
    entries = await world.real.events.tail(0)
    pages = [p for entry in entries for p in wire.EventBook.FromString(entry.book).pages]
    return [
        wire.SagaCompensationFailed.FromString(page.event.value)
        for page in pages
        if page.event.type_url == "type.angzarr.io/angzarr.SagaCompensationFailed"
    ]
