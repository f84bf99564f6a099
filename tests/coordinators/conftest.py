"""A small world: a memory store, a handler that sets named fields, and coordinators over both."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import wire
from angzarr.coordinators import CommandCoordinator, CommandOptions, QueryCoordinator
from angzarr.cover import Cover, root_of
from angzarr.errors import CommandRejected, RemoteError
from angzarr.ports.components import CallContext
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import ManualClock

from .bus import MEMORY_DISK, Bus, Time

ROOT = root_of("alice")
EVENT = "type.googleapis.com/test.Set"
COMMAND = "type.googleapis.com/test.Assign"
STATE = "type.googleapis.com/test.State"
FRAMEWORK = "type.angzarr.io/angzarr."


Answer = Message | Exception | Callable[[wire.ContextualCommand], Message] | None


class Fields:
    """A handler whose state is named fields; command `a=1;b=2` makes events `a=1` and `b=2`.

    answer: what it answers instead, or raises. seen: what it was asked. entered: set when it is
    asked. gate: awaited within handle.
    """

    def __init__(self, domain: str = "account", *, is_local: bool = True) -> None:
        self.name = f"aggregate:{domain}"
        self.is_local = is_local
        self.answer: Answer = None
        self.seen: list[wire.ContextualCommand] = []
        self.contexts: list[CallContext] = []
        self.replayed: list[wire.ReplayRequest] = []
        self.replay_answer: Message | Exception | None = None
        self.entered = asyncio.Event()
        self.gate: Callable[[], Awaitable[object]] | None = None

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        asked = wire.ContextualCommand.FromString(request)
        self.seen.append(asked)
        self.contexts.append(context)
        self.entered.set()
        if self.gate:
            await self.gate()
        answer = self.answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Message):
            return answer.SerializeToString()
        if answer is not None:
            return answer(asked).SerializeToString()
        return business(*_texts(asked.command)).SerializeToString()

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        asked = wire.ReplayRequest.FromString(request)
        self.replayed.append(asked)
        if isinstance(self.replay_answer, Exception):
            raise self.replay_answer
        if self.replay_answer is not None:
            return self.replay_answer.SerializeToString()
        state = _state(asked.base_snapshot.state.value)
        for page in asked.events:
            if page.event.type_url == EVENT:
                state.update(_state(page.event.value))
        return wire.ReplayResponse(state=state_any(**state)).SerializeToString()

    def diff(self, before: bytes, after: bytes) -> frozenset[str]:
        old, new = (_state(Any.FromString(item).value) for item in (before, after))
        return frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def business(*texts: str) -> wire.BusinessResponse:
    """An answer with one event a text."""
    response = wire.BusinessResponse()
    response.events.SetInParent()
    for text in texts:
        response.events.pages.add().event.CopyFrom(Any(type_url=EVENT, value=text.encode()))
    return response


def state_any(**fields: str) -> Any:
    """The state of the named fields."""
    text = ";".join(f"{name}={value}" for name, value in sorted(fields.items()))
    return Any(type_url=STATE, value=text.encode())


def _texts(command: wire.CommandBook) -> list[str]:
    return [t for page in command.pages for t in page.command.value.decode().split(";") if t]


def _state(value: bytes) -> dict[str, str]:
    return dict(item.split("=") for item in value.decode().split(";") if item)


class Faulty:
    """A port with methods replaced: `faults[name]` is an async function or an exception."""

    def __init__(self, port: object, trace: list[str]) -> None:
        self._port = port
        self._trace = trace
        self.faults: dict[str, object] = {}

    def __getattr__(self, name: str) -> object:
        real = getattr(self._port, name)

        async def call(*args: object, **options: object) -> object:
            self._trace.append(name)
            fault = self.faults.get(name)
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                return await fault(real, *args, **options)  # type: ignore[operator]
            return await real(*args, **options)

        return call


@dataclass
class FaultyStores:
    """Stores whose events and dead letters can be made to fail; `trace` has the calls in order."""

    real: object
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events = Faulty(self.real.events, self.trace)
        self.dead_letters = Faulty(self.real.dead_letters, self.trace)

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


class World:
    """Everything a claim needs; `stores` can fail, `coordinate` makes a new coordinator."""

    business = staticmethod(business)
    state_any = staticmethod(state_any)
    Fields = Fields
    ROOT, EVENT, COMMAND, STATE, FRAMEWORK = ROOT, EVENT, COMMAND, STATE, FRAMEWORK

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stores = FaultyStores(open_stores("memory://", clock=self.clock))
        self.events = self.stores.events
        self.trace = self.stores.trace
        self.handler = Fields()
        self.slept: list[float] = []
        self.before_sleep: Callable[[], Awaitable[object]] | None = None
        self.commands = self.coordinate()
        self.queries = QueryCoordinator(self.stores.events)
        self.context = CallContext()

    def coordinate(
        self, options: CommandOptions | None = None, **more: object
    ) -> CommandCoordinator:
        handlers = more.pop("handlers", {"account": self.handler})
        self.commands = CommandCoordinator(
            self.stores,
            handlers,
            options=options,
            clock=self.clock,
            sleep=self._sleep,
            **more,
        )
        return self.commands

    async def _sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        if self.before_sleep:
            await self.before_sleep()

    def cover(self, **fields: object) -> Cover:
        return Cover(
            str(fields.get("domain", "account")),
            fields.get("root", ROOT),
            str(fields.get("edition", "")),
            str(fields.get("correlation_id", "")),
        )

    def book(
        self,
        *texts: str,
        at: int | None = 0,
        strategy: int = wire.MERGE_STRICT,
        domain: str = "account",
        root: bytes = ROOT,
        edition: str = "",
        divergence: int | None = None,
        correlation_id: str = "",
        header: wire.PageHeader | None = None,
    ) -> wire.CommandBook:
        """A command of one page a text; `at` None leaves the headers out."""
        book = wire.CommandBook()
        self.fill(book.cover, domain, root, edition, divergence, correlation_id)
        for text in texts:
            page = book.pages.add(merge_strategy=strategy)
            page.command.CopyFrom(Any(type_url=COMMAND, value=text.encode()))
            if header is not None:
                page.header.CopyFrom(header)
            elif at is not None:
                page.header.sequence = at
        return book

    def fill(
        self,
        cover: wire.Cover,
        domain: str = "account",
        root: bytes = ROOT,
        edition: str = "",
        divergence: int | None = None,
        correlation_id: str = "",
    ) -> wire.Cover:
        cover.domain, cover.root.value = domain, root
        cover.correlation_id = correlation_id
        if edition:
            cover.edition.name = edition
        if divergence is not None:
            cover.edition.divergences.add(domain=domain, sequence=divergence)
        return cover

    async def send(
        self,
        *texts: str,
        cascade_id: str = "",
        sync_mode: int = 0,
        metadata: dict[str, str | bytes] | None = None,
        book: wire.CommandBook | None = None,
        **more: object,
    ) -> wire.CommandResponse:
        """HandleCommand; the options of `book` beside its own."""
        request = wire.CommandRequest(
            command=book or self.book(*texts, **more), sync_mode=sync_mode
        )
        if cascade_id:
            request.cascade_id = cascade_id
        answer = await self.commands.handle_command(
            request.SerializeToString(), CallContext(metadata=metadata or {})
        )
        return wire.CommandResponse.FromString(answer)

    async def compensate(
        self, book: wire.CommandBook, metadata: dict[str, str | bytes] | None = None
    ) -> wire.BusinessResponse:
        request = wire.CommandRequest(command=book).SerializeToString()
        answer = await self.commands.handle_compensation(
            request, CallContext(metadata=metadata or {})
        )
        return wire.BusinessResponse.FromString(answer)

    async def speculate(
        self, *texts: str, point: wire.TemporalQuery | None = None, **more: object
    ) -> wire.CommandResponse:
        request = wire.SpeculateCommandHandlerRequest(
            command=self.book(*texts, **more), point_in_time=point
        )
        answer = await self.commands.handle_speculative(request.SerializeToString(), self.context)
        return wire.CommandResponse.FromString(answer)

    async def record(
        self,
        *texts: str,
        external_id: str = "",
        header: wire.PageHeader | None = None,
        metadata: dict[str, str | bytes] | None = None,
        route: bool = False,
        **cover: object,
    ) -> wire.FactInjectionResponse:
        """HandleEvent with one page a text."""
        if header is None:
            deferred = wire.ExternalDeferredSequence(external_id=external_id)
            header = wire.PageHeader(external_deferred=deferred)
        request = wire.EventRequest(route_to_handler=route)
        self.fill(request.events.cover, **cover)
        for text in texts:
            page = request.events.pages.add(header=header)
            page.event.CopyFrom(Any(type_url=EVENT, value=text.encode()))
        answer = await self.commands.handle_event(
            request.SerializeToString(), CallContext(metadata=metadata or {})
        )
        return wire.FactInjectionResponse.FromString(answer)

    async def stored(self, **cover: object) -> wire.EventBook:
        """The stream as stored."""
        book = await self.stores.real.events.load(self.cover(**cover))
        return wire.EventBook.FromString(book.data)

    async def values(self, **cover: object) -> list[str]:
        """Payloads of the stored stream."""
        return [
            page.event.value.decode(errors="replace") for page in (await self.stored(**cover)).pages
        ]

    async def log(self) -> list[wire.EventBook]:
        """All published books."""
        entries = await self.stores.real.events.tail(0)
        return [wire.EventBook.FromString(entry.book) for entry in entries]

    async def letters(self) -> list[wire.AngzarrDeadLetter]:
        letters = await self.stores.real.dead_letters.list()
        return [wire.AngzarrDeadLetter.FromString(item.letter) for item in letters]

    def origin(
        self,
        source_seq: int = 0,
        *,
        component: str = "saga:shipping",
        index: int = 0,
        kind: int = wire.COMMAND,
        root: bytes = root_of("order-1"),
        domain: str = "order",
        edition: str = "",
        occasion: bytes = b"",
    ) -> dict[str, str | bytes]:
        """Metadata with a provenance."""
        source = wire.Cover()
        self.fill(source, domain, root, edition)
        provenance = wire.Provenance(
            source=source,
            source_seq=source_seq,
            component=component,
            index=index,
            kind=kind,
            occasion=occasion,
        )
        return {"angzarr-provenance-bin": provenance.SerializeToString()}

    def deferred(
        self, source_seq: int = 0, *, domain: str = "order", root: bytes = ROOT
    ) -> wire.PageHeader:
        """An angzarr_deferred header."""
        source = wire.Cover()
        self.fill(source, domain, root)
        stamp = wire.AngzarrDeferredSequence(source=source, source_seq=source_seq)
        return wire.PageHeader(angzarr_deferred=stamp)

    def no_replay(self) -> None:
        self.handler.replay_answer = RemoteError("UNIMPLEMENTED", "Method not found!")

    def rejecting(self, reason: str = "no funds") -> None:
        self.handler.answer = CommandRejected(reason)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.commands.close()
    await made.stores.real.close()


@pytest.fixture
async def town() -> AsyncIterator[object]:
    """Aggregates, and what sagas and process managers need to work on them."""
    from .reacting import Town

    made = Town()
    yield made
    await made.close()


@pytest.fixture(params=["memory", "rocksdb"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """A log on a store, and what consumes it; time stands still."""
    time = Time()
    with tempfile.TemporaryDirectory(prefix="angzarr-", dir=MEMORY_DISK) as path:
        where = "memory://" if request.param == "memory" else f"rocksdb://{path}/store"
        stores = open_stores(where, clock=time.clock)
        made = Bus(stores, time)
        yield made
        await made.close()
        await stores.close()


@pytest.fixture
async def timed() -> AsyncIterator[Bus]:
    """A log in memory, where all that is due is done when time moves."""
    time = Time()
    stores = open_stores("memory://", clock=time.clock)
    made = Bus(stores, time)
    yield made
    await made.close()
    await stores.close()
