"""A small world for projectors: a memory store, a log feeder, and projectors near and far."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import Projector, Sqlite, Trigger, codec, projects, wire
from angzarr.coordinators.delivery import Delivery
from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.projector import (
    ProjectorCoordinator,
    plain_projector,
    stored_projector,
)
from angzarr.cover import Cover, root_of
from angzarr.handlers import LocalProjector
from angzarr.ports.components import CallContext, Subscription
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import ManualClock

SCHEMA = "CREATE TABLE IF NOT EXISTS row (place TEXT, sequence INTEGER, text TEXT)"
CONTEXT = CallContext()


@dataclass(frozen=True)
class Happened:
    text: str


@dataclass(frozen=True)
class Total:
    count: int


def rows_class(store: Sqlite, **options: object) -> type[Projector]:
    """A projector named `rows`: a row an event, and the number of rows as its projection."""

    class Rows(Projector, **{"source": "account", "read_store": store, **options}):
        gate: Callable[[str], Awaitable[object]] | None = None
        seen: list[str] = []

        @projects
        async def happened(self, event: Happened, at: Trigger, db: sqlite3.Connection) -> Total:
            Rows.seen.append(event.text)
            place = f"{at.domain}/{at.edition}/{at.root.hex()[:4]}"
            db.execute("INSERT INTO row VALUES (?, ?, ?)", (place, at.sequence, event.text))
            if Rows.gate is not None:
                await Rows.gate(event.text)
            if event.text == "bad":
                raise ValueError("a bad event")
            return Total(db.execute("SELECT count(*) FROM row").fetchone()[0])

    return Rows


@dataclass
class Recorder:
    """A projector that keeps its rows itself, as a remote one does; it notes what it is given.

    answer: what it answers, or raises. gate: awaited while it is asked.
    """

    name: str = "projector:recorder"
    subscriptions: tuple[Subscription, ...] = (Subscription("account"),)
    editions: tuple[str, ...] | None = ("main",)
    is_synchronous: bool = True
    answer: wire.Projection | Exception | None = None
    speculation: wire.Projection | Exception | None = None
    gate: Callable[[], Awaitable[object]] | None = None
    books: list[wire.EventBook] = field(default_factory=list)
    contexts: list[CallContext] = field(default_factory=list)
    speculated: list[wire.EventBook] = field(default_factory=list)

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        self.books.append(wire.EventBook.FromString(request))
        self.contexts.append(context)
        if self.gate is not None:
            await self.gate()
        return _answered(self.answer)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        self.speculated.append(wire.EventBook.FromString(request))
        return _answered(self.speculation)

    @property
    def sequences(self) -> list[list[int]]:
        """Sequences of the pages, book by book."""
        return [[page.header.sequence for page in book.pages] for book in self.books]


def _answered(answer: wire.Projection | Exception | None) -> bytes:
    if isinstance(answer, Exception):
        raise answer
    return b"" if answer is None else answer.SerializeToString()


class Turns:
    """Turns at streams, by consumer."""

    def __init__(self) -> None:
        self._locks: dict[tuple[object, ...], asyncio.Lock] = {}

    @contextlib.asynccontextmanager
    async def alone(self, consumer: str, cover: Cover) -> AsyncIterator[None]:
        async with self._locks.setdefault((consumer, *cover.stream), asyncio.Lock()):
            yield


@dataclass(frozen=True)
class State:
    position: int


class Feeder:
    """What consumers of the log do for a projector: from its cursor on, in the log's order."""

    def __init__(self, world: World, projector: ProjectorCoordinator) -> None:
        self._world = world
        self.projector = projector
        self.delivered: list[Delivery] = []

    async def run(self) -> None:
        """Deliver up to the log's head; an error stops it there."""
        positions, name = self._world.stores.positions, self.projector.consumer
        cursor = await positions.cursor(name) or 0
        for entry in await self._world.stores.events.tail(cursor, limit=10_000):
            delivery = delivery_of(entry.book, entry.position)
            if wanted(self.projector, delivery.cover):
                self.delivered.append(delivery)
                async with self._world.turns.alone(name, delivery.cover):
                    await self.projector.deliver(delivery)
            await positions.put_cursor(name, entry.position)

    async def reset(
        self, consumer: str, between: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        if between is not None:
            await between()
        await self._world.stores.positions.reset(consumer)

    def states(self) -> dict[str, State]:
        return {self.projector.consumer: State(self.position)}

    position = 0


def wanted(projector: ProjectorCoordinator, cover: Cover) -> bool:
    """What consumers do with `log_subscriptions` and `log_editions`."""
    from angzarr.coordinators.subscriptions import Filter, editions_of

    editions = editions_of(projector.log_editions)
    if editions is not None and cover.edition not in editions:
        return False
    return Filter(projector.log_subscriptions).wants(cover.domain)


def delivery_of(book: bytes, position: int = 0, **options: bool) -> Delivery:
    message = wire.EventBook.FromString(book)
    cover = message.cover
    return Delivery(
        Cover(cover.domain, cover.root.value, cover.edition.name, cover.correlation_id),
        book,
        message.pages[0].header.sequence,
        message.pages[-1].header.sequence,
        position,
        **options,
    )


class World:
    """Everything a claim needs."""

    Happened, Total, Recorder = Happened, Total, Recorder
    rows_class = staticmethod(rows_class)
    delivery_of = staticmethod(delivery_of)
    context = CONTEXT

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.stores = open_stores("memory://", clock=self.clock)
        self.events = self.stores.events
        self.turns = Turns()
        self.options = ProjectorOptions()
        self.published: list[wire.EventBook] = []
        self.slept: list[float] = []
        self.store = Sqlite(folder / "rows.sqlite", SCHEMA)
        self.open: list[ProjectorCoordinator] = []

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        await asyncio.sleep(0)

    def cover(
        self,
        name: str = "alice",
        *,
        domain: str = "account",
        edition: str = "",
        correlation_id: str = "",
    ) -> Cover:
        return Cover(domain, root_of(name), edition, correlation_id)

    def page(self, sequence: int, text: str, domain: str = "account") -> wire.EventPage:
        page = wire.EventPage(committed=True, event=codec.pack(Happened(text), domain))
        page.header.sequence = sequence
        page.created_at.FromNanoseconds(self.clock.now_ns())
        return page

    async def append(
        self,
        *texts: str,
        cascade_id: str = "",
        divergence: int | None = None,
        pages: list[wire.EventPage] | None = None,
        **cover: str,
    ) -> bytes:
        """One commit with a page a text; its book, as a request would have it."""
        stream = self.cover(**cover)
        first = await self.events.next_sequence(stream, divergence=divergence)
        pages = pages or [
            self.page(first + index, text, stream.domain) for index, text in enumerate(texts)
        ]
        for page in pages:
            if cascade_id:
                page.committed, page.cascade_id = False, cascade_id
        await self.events.append(
            stream,
            first,
            [page.SerializeToString(deterministic=True) for page in pages],
            cascade_id=cascade_id,
            divergence=divergence,
        )
        return self.book(*pages, cover=stream)

    def book(self, *pages: wire.EventPage, cover: Cover | None = None) -> bytes:
        stream = cover or self.cover()
        book = wire.EventBook(pages=pages, next_sequence=pages[-1].header.sequence + 1)
        book.cover.domain, book.cover.root.value = stream.domain, stream.root
        book.cover.correlation_id = stream.correlation_id
        if stream.edition:
            book.cover.edition.name = stream.edition
        return book.SerializeToString()

    async def entry(self, index: int) -> bytes:
        """The book of the log's entry number `index`."""
        return (await self.events.tail(0))[index].book

    def publish(self, book: bytes) -> None:
        self.published.append(wire.EventBook.FromString(book))

    async def plain(self, recorder: Recorder, **options: object) -> ProjectorCoordinator:
        """The coordinator of a projector that keeps its rows itself, open."""
        made = plain_projector(
            recorder,
            self.stores,
            **{
                "options": self.options,
                "publish": self.publish,
                "clock": self.clock,
                "sleep": self.sleep,
                **options,
            },
        )
        return await self._opened(made)

    async def stored(
        self, cls: type[Projector] | None = None, *, leads: bool = True, **options: object
    ) -> ProjectorCoordinator:
        """The coordinator of a projector with a read store, open; one that leads has begun, too."""
        local = LocalProjector(cls or rows_class(self.store))
        store = options.pop("read_store", local.read_store)
        assert store is not None
        made = stored_projector(
            local,
            store,
            self.stores,
            **{
                "options": self.options,
                "publish": self.publish,
                "clock": self.clock,
                **options,
            },
        )
        return await self._opened(made, leads=leads)

    async def _opened(
        self, made: ProjectorCoordinator, *, leads: bool = True
    ) -> ProjectorCoordinator:
        await made.open()
        if leads:
            await made.begin()
        self.open.append(made)
        return made

    async def feed(self, projector: ProjectorCoordinator) -> Feeder:
        """Deliver the log to it, from its cursor to the head."""
        feeder = Feeder(self, projector)
        await feeder.run()
        return feeder

    def feeder(self, projector: ProjectorCoordinator) -> Feeder:
        return Feeder(self, projector)

    def rows(self, store: Sqlite | None = None) -> list[tuple[int, str]]:
        """(sequence, text) of all rows, as a query reads them, in the order of writing."""
        reader = (store or self.store).reader()
        found = reader.rows("SELECT sequence, text FROM row ORDER BY rowid")
        reader.close()
        return [tuple(row) for row in found]

    async def position(self, projector: ProjectorCoordinator, **cover: str) -> int | None:
        """The stored position of a plain projector."""
        await projector.close()
        return await self.stores.positions.get(projector.consumer, self.cover(**cover))

    async def close(self) -> None:
        for projector in self.open:
            await projector.close()
        await self.stores.close()


@pytest.fixture
async def world(tmp_path: pathlib.Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


def any_of(type_url: str, value: bytes = b"") -> Any:
    return Any(type_url=type_url, value=value)
