"""A town of aggregates, and scripted sagas and process managers to work on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import wire
from angzarr.coordinators import CommandCoordinator
from angzarr.coordinators.destinations import StoreDestinations
from angzarr.coordinators.duties import Duties, Duty
from angzarr.coordinators.duty import Postponed
from angzarr.coordinators.flow import Flow, Outcome
from angzarr.coordinators.options import ReactionOptions
from angzarr.coordinators.process_manager import ProcessManagerCoordinator
from angzarr.coordinators.reaction import Means
from angzarr.coordinators.saga import SagaCoordinator
from angzarr.cover import Cover, Provenance, root_of
from angzarr.ports.components import CallContext, Subscription
from angzarr.ports.event_store import Obligation
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import NS_PER_S, ManualClock

from .conftest import COMMAND, EVENT, Faulty, FaultyStores, Fields

ROOT = root_of("7f")
OTHER = root_of("other")
STATE = root_of("c-1")
"""Root of the workflow with the correlation id c-1."""
DOMAINS = ("order", "player", "table", "shipment", "fulfilment")

Handle = Callable[[wire.SagaHandleRequest], object]
"""Called with what it is asked; answers with a message or None, or raises."""


def cover(
    domain: str,
    root: bytes = ROOT,
    edition: str = "",
    correlation_id: str = "",
    divergences: dict[str, int] | None = None,
) -> wire.Cover:
    made = wire.Cover(domain=domain, root=wire.UUID(value=root), correlation_id=correlation_id)
    if edition:
        made.edition.name = edition
    for name, sequence in (divergences or {}).items():
        made.edition.divergences.add(domain=name, sequence=sequence)
    return made


def command(
    domain: str,
    *texts: str,
    root: bytes = ROOT,
    at: int | None = None,
    strategy: int = wire.MERGE_STRICT,
    header: wire.PageHeader | None = None,
    **more: object,
) -> wire.CommandBook:
    """A command of one page a text; `at` None leaves the headers out."""
    book = wire.CommandBook(cover=cover(domain, root, **more))
    for text in texts:
        page = book.pages.add(merge_strategy=strategy)
        page.command.CopyFrom(Any(type_url=COMMAND, value=text.encode()))
        if header is not None:
            page.header.CopyFrom(header)
        elif at is not None:
            page.header.sequence = at
    return book


def fact(
    domain: str, *texts: str, root: bytes = ROOT, external_id: str | None = "x", **more: object
) -> wire.EventBook:
    """A fact; external_id None leaves the markers out."""
    book = wire.EventBook(cover=cover(domain, root, **more))
    for text in texts:
        page = book.pages.add()
        page.event.CopyFrom(Any(type_url=EVENT, value=text.encode()))
        if external_id is not None:
            page.header.external_deferred.external_id = external_id
    return book


def schedule(
    name: str,
    due_ns: int,
    *,
    command: wire.CommandBook | None = None,
    payload: str | None = None,
) -> wire.CommandBook:
    timer = wire.ScheduleTimer(name=name, command=command)
    timer.due_at.seconds, timer.due_at.nanos = divmod(due_ns, NS_PER_S)
    if payload is not None:
        timer.payload.CopyFrom(
            Any(type_url="type.googleapis.com/test.Remind", value=payload.encode())
        )
    return system(timer)


def cancel(name: str) -> wire.CommandBook:
    return system(wire.CancelTimer(name=name))


def system(message: Message) -> wire.CommandBook:
    book = wire.CommandBook()
    book.cover.domain = "_angzarr"
    page = book.pages.add()
    page.command.type_url = f"type.googleapis.com/{message.DESCRIPTOR.full_name}"
    page.command.value = message.SerializeToString()
    return book


def sends(*commands: wire.CommandBook, events: Sequence[wire.EventBook] = ()) -> wire.SagaResponse:
    return wire.SagaResponse(commands=commands, events=events)


def decides(
    *commands: wire.CommandBook,
    events: Sequence[str] = (),
    facts: Sequence[wire.EventBook] = (),
    snapshot: Any | None = None,
) -> wire.ProcessManagerHandleResponse:
    """A process manager's answer; its events have neither cover nor headers (PM-5)."""
    response = wire.ProcessManagerHandleResponse(commands=commands, facts=facts)
    for text in events:
        response.process_events.pages.add().event.CopyFrom(Any(type_url=EVENT, value=text.encode()))
    if snapshot is not None:
        response.process_events.snapshot.state.CopyFrom(snapshot)
    return response


def deferred(source: wire.Cover | None = None, source_seq: int = 0) -> wire.PageHeader:
    stamp = wire.AngzarrDeferredSequence(source=source, source_seq=source_seq)
    return wire.PageHeader(angzarr_deferred=stamp)


class Script:
    """A saga that does as it is told. answers: one a call, the last one again and again."""

    def __init__(self, *answers: object, targets: Sequence[str] = ("player", "table")) -> None:
        self.name = "saga:shipping"
        self.subscriptions = (Subscription("order"),)
        self.targets = tuple(targets)
        self.answers = deque(answers)
        self.routes: dict[str, bytes] = {}
        self.seen: list[wire.SagaHandleRequest] = []
        self.contexts: list[CallContext] = []
        self.told: list[wire.Notification] = []
        self.makes_up: object = None
        self.gate: Callable[[], Awaitable[object]] | None = None

    def routed(self, domain: str, source: bytes) -> bytes | None:
        assert wire.EventBook.FromString(source).cover.domain
        return self.routes.get(domain)

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        asked = wire.SagaHandleRequest.FromString(request)
        self.seen.append(asked)
        self.contexts.append(context)
        if self.gate:
            await self.gate()
        return _answered(self.answers, asked)

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        self.told.append(wire.Notification.FromString(request))
        answer = self.makes_up
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer()
        return None if answer is None else answer.SerializeToString()


class Manager:
    """A process manager that does as it is told; `prepares` are the covers it names."""

    def __init__(self, *answers: object, targets: Sequence[str] = ("order", "shipment")) -> None:
        self.name = "process_manager:fulfilment"
        self.domain = "fulfilment"
        self.subscriptions = (Subscription("order"), Subscription("shipment"))
        self.targets = tuple(targets)
        self.answers = deque(answers)
        self.prepares: object = ()
        self.prepared: list[wire.ProcessManagerPrepareRequest] = []
        self.seen: list[wire.ProcessManagerHandleRequest] = []
        self.contexts: list[CallContext] = []
        self.told: list[wire.ContextualCommand] = []
        self.answers_rejections: object = None
        self.gate: Callable[[], Awaitable[object]] | None = None

    async def prepare(self, request: bytes, context: CallContext) -> bytes:
        self.prepared.append(wire.ProcessManagerPrepareRequest.FromString(request))
        if isinstance(self.prepares, Exception):
            raise self.prepares
        return wire.ProcessManagerPrepareResponse(destinations=self.prepares).SerializeToString()

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        asked = wire.ProcessManagerHandleRequest.FromString(request)
        self.seen.append(asked)
        self.contexts.append(context)
        if self.gate:
            await self.gate()
        return _answered(self.answers, asked)

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        self.told.append(wire.ContextualCommand.FromString(request))
        answer = self.answers_rejections
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else answer.SerializeToString()


def _answered(answers: deque[object], asked: Message) -> bytes:
    answer = answers.popleft() if len(answers) > 1 else answers[0] if answers else None
    if isinstance(answer, Exception):
        raise answer
    if callable(answer):
        answer = answer(asked)
    return b"" if answer is None else answer.SerializeToString()


@dataclass
class Sent:
    """A request as it left; `answered` is how many answers had come before."""

    request: wire.CommandRequest | wire.EventRequest
    context: CallContext

    @property
    def provenance(self) -> wire.Provenance:
        return wire.Provenance.FromString(self.context.metadata["angzarr-provenance-bin"])

    @property
    def stamps(self) -> list[int]:
        return [page.header.sequence for page in self.request.command.pages]


class Road:
    """What commands go over: `sent` has them all; `faults[domain]` are taken one a request, None
    lets one pass; a callable is awaited first."""

    def __init__(self, to: CommandCoordinator) -> None:
        self._to = to
        self.sent: list[Sent] = []
        self.facts: list[Sent] = []
        self.faults: dict[str, deque[object]] = {}

    def fails(self, domain: str, *faults: object) -> None:
        self.faults.setdefault(domain, deque()).extend(faults)

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        message = wire.CommandRequest.FromString(request)
        self.sent.append(Sent(message, context))
        await self._pass(message.command.cover.domain)
        return await self._to.handle_command(request, context)

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        message = wire.EventRequest.FromString(request)
        self.facts.append(Sent(message, context))
        await self._pass(message.events.cover.domain)
        return await self._to.handle_event(request, context)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        raise AssertionError("reactions do not speculate")

    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes:
        raise AssertionError("the worker notifies")

    async def _pass(self, domain: str) -> None:
        queue = self.faults.get(domain)
        fault = queue.popleft() if queue else None
        if isinstance(fault, BaseException):
            raise fault
        if fault is not None:
            await fault()

    def to(self, domain: str) -> list[Sent]:
        return [item for item in self.sent if item.request.command.cover.domain == domain]


class Told:
    """Notifications as obligations of which only the fact counts."""

    def __init__(self) -> None:
        self.rejections: list[tuple[wire.CommandBook, Provenance, str]] = []

    def rejection(
        self, command: wire.CommandBook, provenance: Provenance, reason: str
    ) -> Obligation:
        copy = wire.CommandBook()
        copy.CopyFrom(command)
        self.rejections.append((copy, provenance, reason))
        return Obligation(f"rejection:{provenance.key.hex()}", "rejection", reason.encode(), 0)


class Worker:
    """The worker of obligations, run by hand: `run_due` works once on what is due now. postponed:
    the reasons of what came too early."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.woken = 0
        self.duties: dict[str, Duty] = {}
        self.postponed: list[str] = []

    def wake(self) -> None:
        self.woken += 1

    async def run_due(self) -> list[str]:
        """The ids of what was due and has a duty."""
        taken: list[str] = []
        duties = Duties(self._town.stores, self._town.clock)
        for duty in self.duties.values():
            duties.add(Watched(duty, taken, self.postponed))
        await duties.run_due()
        return taken


class Watched:
    """A duty, and what was asked of it."""

    def __init__(self, duty: Duty, taken: list[str], postponed: list[str]) -> None:
        self._duty = duty
        self._taken = taken
        self._postponed = postponed

    def __getattr__(self, name: str) -> object:
        return getattr(self._duty, name)

    async def fulfil(self, obligation: Obligation) -> None:
        self._taken.append(obligation.id)
        try:
            await self._duty.fulfil(obligation)
        except Postponed as too_early:
            self._postponed.append(str(too_early))
            raise


@dataclass
class Stores(FaultyStores):
    """Obligations can be made to fail, too."""

    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.obligations = Faulty(self.real.obligations, self.trace)


class Town:
    """Everything a claim needs. DOMAINS have aggregates that set named fields (see Fields)."""

    def __init__(self, url: str = "memory://") -> None:
        self.clock = ManualClock()
        self.stores = Stores(open_stores(url, clock=self.clock))
        self.events = self.stores.events
        self.handlers = {domain: Fields(domain) for domain in DOMAINS}
        self.slept: list[float] = []
        self.before_sleep: Callable[[], Awaitable[object]] | None = None
        self.commands = CommandCoordinator(
            self.stores, self.handlers, clock=self.clock, sleep=self._command_sleep
        )
        self.road = Road(self.commands)
        self.told = Told()
        self.worker = Worker(self)
        self.means = Means(
            stores=self.stores,
            commands=self.road,
            destinations=StoreDestinations(self.stores.events, DOMAINS),
            notifications=self.told,
            worker=self.worker,
            clock=self.clock,
            sleep=self._sleep,
        )

    async def close(self) -> None:
        await self.commands.close()
        await self.stores.real.close()

    async def _sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        if self.before_sleep:
            await self.before_sleep()

    async def _command_sleep(self, delay_s: float) -> None:
        return None

    def saga(self, script: Script, **more: object) -> SagaCoordinator:
        made = SagaCoordinator(script, replace(self.means, **more))
        self.worker.duties |= {duty.kind: duty for duty in made.duties}
        return made

    def manager(self, manager: Manager, **more: object) -> ProcessManagerCoordinator:
        made = ProcessManagerCoordinator(manager, replace(self.means, **more))
        self.worker.duties |= {duty.kind: duty for duty in made.duties}
        return made

    def options(self, **more: object) -> ReactionOptions:
        return replace(ReactionOptions(), **more)

    async def published(
        self,
        *texts: str,
        domain: str = "order",
        root: bytes = ROOT,
        cascade_id: str = "",
        **more: object,
    ) -> bytes:
        """Have an aggregate make an event a text; the book as the log has it, or as the answer has
        it while its cascade is undecided."""
        book = command(domain, *texts, root=root, strategy=wire.MERGE_AGGREGATE_HANDLES, **more)
        request = wire.CommandRequest(command=book)
        if cascade_id:
            request.cascade_id = cascade_id
        answer = await self.commands.handle_command(request.SerializeToString(), CallContext())
        if cascade_id:
            return wire.CommandResponse.FromString(answer).events.SerializeToString()
        return (await self.stores.real.events.tail(0, limit=10_000))[-1].book

    async def fill(self, domain: str, count: int, root: bytes = ROOT, **more: object) -> None:
        """Give a stream `count` events."""
        for number in range(count):
            await self.published(f"old{number}=1", domain=domain, root=root, **more)

    async def values(self, domain: str, root: bytes = ROOT, edition: str = "") -> list[str]:
        """Payloads of the stored stream."""
        book = await self.stores.real.events.load(Cover(domain, root, edition))
        return [page.event.value.decode() for page in wire.EventBook.FromString(book.data).pages]

    async def pages(self, domain: str, root: bytes = ROOT) -> list[wire.EventPage]:
        book = await self.stores.real.events.load(Cover(domain, root))
        return list(wire.EventBook.FromString(book.data).pages)

    async def open(self) -> list[Obligation]:
        """All obligations that are open; none is leased for it."""
        return await self.stores.real.obligations.due(2**63 - 1, limit=10_000, lease_s=-1e10)

    async def letters(self) -> list[wire.AngzarrDeadLetter]:
        letters = await self.stores.real.dead_letters.list()
        return [wire.AngzarrDeadLetter.FromString(item.letter) for item in letters]


async def trigger(town: Town, *texts: str, **more: object) -> bytes:
    """A published event of the workflow c-1."""
    return await town.published(*(texts or ("paid=1",)), **{"correlation_id": "c-1", **more})


@dataclass
class Delivery:
    """A delivery of the log, as far as coordinators look at it."""

    book: bytes


def cascade(**more: object) -> Flow:
    """A CASCADE request."""
    return Flow(sync_mode=wire.SYNC_MODE_CASCADE, **more)


def indexes(outcome: Outcome) -> tuple[list[int], list[int]]:
    """Those of the accepted and of the refused commands."""
    return [item.index for item in outcome.executed], [item.index for item in outcome.refused]
