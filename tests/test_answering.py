"""Services of sagas, process managers and projectors that run in another process (DEP-12)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from angzarr import (
    Aggregate,
    App,
    ProcessManager,
    Projector,
    Saga,
    Send,
    Sqlite,
    applies,
    command,
    handles,
    projects,
    wire,
)
from angzarr.calls import GET_EVENT_BOOK, Target, query
from angzarr.errors import AngzarrError
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.rpc.server import Server

SAGAS = "/angzarr.SagaCoordinatorService/"
MANAGERS = "/angzarr.ProcessManagerCoordinatorService/"
PROJECTORS = "/angzarr.ProjectorCoordinatorService/"
LETTERS = "/angzarr.DlqAdminService/"


@dataclass(frozen=True)
class Place:
    item: str


@dataclass(frozen=True)
class Placed:
    item: str


@dataclass(frozen=True)
class Ship:
    item: str


@dataclass(frozen=True)
class Shipped:
    item: str


@dataclass(frozen=True)
class Watched:
    pass


class Order(Aggregate, domain="order"):
    @command
    def place(self, cmd: Place) -> Placed:
        return Placed(cmd.item)

    @applies
    def placed(self, event: Placed) -> None: ...


class Shipment(Aggregate, domain="shipment"):
    @command
    def ship(self, cmd: Ship) -> Shipped:
        return Shipped(cmd.item)

    @applies
    def shipped(self, event: Shipped) -> None: ...


class Shipping(Saga, source="order", targets=["shipment"]):
    is_broken: ClassVar[bool] = False

    @handles
    def on(self, event: Placed) -> Send:
        if self.is_broken:
            raise ValueError("no box")
        return Send(Ship(event.item))


class Gifting(Saga, source="order", targets=["shipment"]):
    @handles
    def on(self, event: Placed) -> Send:
        return Send(Ship("card"))


class Watch(ProcessManager, domain="watch", source="order"):
    @handles
    def on(self, event: Placed) -> Watched:
        return Watched()

    @applies
    def watched(self, event: Watched) -> None: ...


SCHEMA = "CREATE TABLE IF NOT EXISTS line (item TEXT)"


class Lines(Projector, source="order", read_store=Sqlite("lines.sqlite", SCHEMA)):
    @projects
    def placed(self, event: Placed, db: sqlite3.Connection) -> Placed:
        if event.item == "glass":
            raise ValueError("it broke")
        db.execute("INSERT INTO line VALUES (?)", (event.item,))
        return event


CLASSES = (Order, Shipment, Shipping, Gifting, Watch, Lines)
MOVED = ("saga:gifting", "saga:shipping", "process_manager:watch", "projector:lines")
"""Two sagas in one process, too: none of them is asked twice."""


class Shape:
    """The app, in one process or in two, and a client of it."""

    def __init__(self, app: App, worker: App, server: Server) -> None:
        self.app = app
        self.worker = worker
        self.services = server.services
        self.transport = GrpcTransport(server.addresses[0])

    async def ask(self, path: str, request: Any, answer: type[Any]) -> Any:
        data = await self.transport.unary(path, request.SerializeToString())
        return answer.FromString(data)

    async def told(self, path: str, request: Any, answer: type[Any]) -> str:
        """The answer, or the error, as text without times."""
        try:
            found = await self.ask(path, request, answer)
        except AngzarrError as error:
            return f"{type(error).__name__} {error.kind} {error}"
        return str(found)

    async def book(self, name: str) -> wire.EventBook:
        found = await self.ask(
            GET_EVENT_BOOK,
            wire.Query.FromString(query(Target("order").cover(name))),
            wire.EventBook,
        )
        found.cover.correlation_id = "c-1"
        return found

    async def letter(self) -> str:
        [entry] = (
            await self.ask(
                f"{LETTERS}List", wire.ListDeadLettersRequest(), wire.ListDeadLettersResponse
            )
        ).entries
        return entry.id

    async def shipped(self, name: str) -> list[str]:
        return [e.payload.item async for e in self.app.domain(Shipment).events(name)]  # type: ignore[attr-defined]


@pytest.fixture(params=["one process", "two"])
async def shape(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shape]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Shipping, "is_broken", False)
    delivery = {"delivery.max_attempts": 1}
    async with AsyncExitStack() as stack:

        async def started(
            socket: str, config: dict[str, object], **more: Any
        ) -> tuple[App, Server]:
            app = App(*CLASSES, config={**delivery, **config}, **more)
            await stack.enter_async_context(app)
            server = await app.serve(port=0, socket=tmp_path / socket)
            stack.push_async_callback(server.stop, 0)
            return app, server

        if request.param == "one process":
            app, server = await started("front", {}, store="memory://")
            shape = Shape(app, app, server)
        else:
            place = {"endpoint": f"unix://{tmp_path}/worker", "role": "coordinator"}
            config: dict[str, object] = {"components": dict.fromkeys(MOVED, place)}
            app, server = await started("front", config, store="memory://")
            store = f"grpc+unix://{tmp_path}/front"
            worker, _ = await started("worker", config, store=store, select=",".join(MOVED))
            for component in MOVED:
                await app._running().endpoints[component].wait_serving()
            shape = Shape(app, worker, server)
        stack.push_async_callback(shape.transport.close)
        yield shape


async def placed(shape: Shape, item: str = "book") -> wire.EventBook:
    await shape.app.domain(Order).send("o-1", Place(item), correlation_id="c-1")
    await shape.worker.settled()
    return await shape.book("o-1")


@pytest.mark.spec("DEP-12", "WIRE-15")
async def test_the_same_services_are_there(shape: Shape) -> None:
    names = {name.rpartition(".")[2] for name in shape.services}

    assert names >= {
        "SagaCoordinatorService", "ProcessManagerCoordinatorService", "ProjectorCoordinatorService",
    }  # fmt: skip


@pytest.mark.spec("DEP-12", "SAGA-19")
async def test_sagas_are_executed_once_each(shape: Shape) -> None:
    book = await placed(shape)
    book.cover.root.value = b"another order..."  # whose events nobody has reacted to

    answer = await shape.told(
        f"{SAGAS}Execute", wire.SagaHandleRequest(source=book), wire.SagaResponse
    )

    assert answer == ""
    cover = book.cover.root.value
    assert sorted([e.payload.item async for e in shape.app.domain(Shipment).events(cover)]) == [  # type: ignore[attr-defined]
        "book", "card",
    ]  # fmt: skip


@pytest.mark.spec("DEP-12", "SPEC-5")
async def test_what_sagas_would_do_comes_in_their_order(shape: Shape) -> None:
    request = wire.SpeculateSagaRequest(request=wire.SagaHandleRequest(source=await placed(shape)))

    answer = await shape.ask(f"{SAGAS}ExecuteSpeculative", request, wire.SagaResponse)

    assert [book.pages[0].command.value for book in answer.commands] == [
        b'{"item":"card"}', b'{"item":"book"}',
    ]  # fmt: skip


@pytest.mark.spec("DEP-12", "SAGA-19")
async def test_a_request_without_a_source_is_refused(shape: Shape) -> None:
    told = await shape.told(f"{SAGAS}Execute", wire.SagaHandleRequest(), wire.SagaResponse)

    assert told == "InvalidInput invalid_input SagaHandleRequest must have a source"


@pytest.mark.spec("DEP-12", "SAGA-19")
async def test_what_a_saga_failed_of_is_told(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    book = await placed(shape)
    book.cover.root.value = b"another order..."
    monkeypatch.setattr(Shipping, "is_broken", True)

    told = await shape.told(
        f"{SAGAS}Execute", wire.SagaHandleRequest(source=book), wire.SagaResponse
    )

    assert told.endswith(
        "internal Saga orchestration failed: saga:shipping failed: Shipping.on: ValueError: no box"
    )


@pytest.mark.spec("DEP-12", "PM-11")
async def test_a_process_manager_is_executed(shape: Shape) -> None:
    book = await placed(shape)
    book.cover.correlation_id = "c-2"
    request = wire.ProcessManagerCoordinatorRequest(trigger=book)

    await shape.ask(f"{MANAGERS}Handle", request, wire.ProcessManagerHandleResponse)

    assert len(await shape.app.domain("watch").book("c-2")) == 1


@pytest.mark.spec("DEP-12", "SPEC-5")
async def test_what_a_process_manager_would_do_is_told(shape: Shape) -> None:
    trigger = await placed(shape)
    request = wire.SpeculatePmRequest(request=wire.ProcessManagerHandleRequest(trigger=trigger))
    path = f"{MANAGERS}HandleSpeculative"

    answer = await shape.ask(path, request, wire.ProcessManagerHandleResponse)

    assert len(answer.process_events.pages) == 1


@pytest.mark.spec("DEP-12", "PROJ-8")
async def test_a_projector_answers_with_its_projection(shape: Shape) -> None:
    book = await placed(shape)
    book.cover.root.value = b"another order..."

    answer = await shape.ask(
        f"{PROJECTORS}HandleSync", wire.EventRequest(events=book), wire.Projection
    )

    assert (answer.projector, answer.projection.value) == ("lines", b'{"item":"book"}')


@pytest.mark.spec("DEP-12", "PROJ-8")
async def test_a_book_with_nothing_new_is_answered_with_the_projectors_name(shape: Shape) -> None:
    book = await placed(shape)

    answer = await shape.ask(
        f"{PROJECTORS}HandleSync", wire.EventRequest(events=book), wire.Projection
    )

    assert (answer.cover, answer.projector) == (book.cover, "lines")


@pytest.mark.spec("DEP-12", "PROJ-8")
async def test_a_book_that_no_projector_is_for_is_answered_with_its_cover(shape: Shape) -> None:
    book = await placed(shape)
    book.cover.edition.name = "what-if"

    answer = await shape.ask(
        f"{PROJECTORS}HandleSync", wire.EventRequest(events=book), wire.Projection
    )

    assert (answer.cover, answer.projector) == (book.cover, "")


@pytest.mark.spec("DEP-12", "PROJ-8")
async def test_what_a_projector_failed_of_is_told_once(shape: Shape) -> None:
    book = await placed(shape, "glass")

    told = await shape.told(f"{PROJECTORS}Handle", _untouched(book), wire.Projection)

    assert told.endswith(
        "Projector lines failed: projector:lines failed: Lines.placed at page 0 of "
        f"order/{b'another order...'.hex()}: ValueError: it broke"
    )


@pytest.mark.spec("DEP-12", "PROJ-12")
async def test_what_a_projector_would_make_is_told(shape: Shape) -> None:
    request = wire.SpeculateProjectorRequest(events=await placed(shape))
    path = f"{PROJECTORS}HandleSpeculative"

    answer = await shape.ask(path, request, wire.Projection)

    assert (answer.projector, answer.sequence) == ("lines", 0)


@pytest.mark.spec("DEP-12", "DLQ-10")
async def test_dead_events_are_delivered_again_where_their_component_is(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shipping, "is_broken", True)
    await placed(shape)
    monkeypatch.setattr(Shipping, "is_broken", False)
    request = wire.RedeliverDeadLetterRequest(id=await shape.letter())

    answer = await shape.ask(f"{LETTERS}Redeliver", request, wire.RedeliverDeadLetterResponse)

    assert answer.component == "saga:shipping"
    assert sorted(await shape.shipped("o-1")) == ["book", "card"]


@pytest.mark.spec("DEP-12", "DLQ-10")
async def test_a_redelivery_is_counted_once_and_told_what_it_failed_of(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shipping, "is_broken", True)
    await placed(shape)
    letter_id = await shape.letter()
    request = wire.RedeliverDeadLetterRequest(id=letter_id)

    told = await shape.told(f"{LETTERS}Redeliver", request, wire.RedeliverDeadLetterResponse)

    assert told.endswith("saga:shipping failed: Shipping.on: ValueError: no box")
    letter = await shape.app.stores.dead_letters.get(letter_id)
    assert letter is not None
    assert letter.replay_count == 1


async def test_what_is_not_selected_is_not_asked_for(tmp_path: Path) -> None:
    """Processes that read one configuration would ask each other for ever."""
    place = {"endpoint": f"unix://{tmp_path}/nobody", "role": "coordinator"}
    config = {"components": {"saga:gifting": place}}
    select = "*,-saga:gifting,-projector:lines"
    async with App(*CLASSES, store="memory://", config=config, select=select) as app:
        server = await app.serve(port=0)
        shape = Shape(app, app, server)
        book = await placed(shape)

        told = await shape.told(
            f"{SAGAS}Execute", wire.SagaHandleRequest(source=book), wire.SagaResponse
        )
        await shape.transport.close()
        await server.stop(0)
    assert told == ""
    assert "angzarr.ProjectorCoordinatorService" not in shape.services


def _untouched(book: wire.EventBook) -> wire.EventBook:
    """The same events of a stream that nobody has been given."""
    book.cover.root.value = b"another order..."
    return book
