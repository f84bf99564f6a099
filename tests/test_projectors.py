"""Projector classes put together with a store, a configuration and a server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from angzarr import (
    Aggregate,
    App,
    Projector,
    Service,
    Sqlite,
    applies,
    command,
    projectors,
    projects,
    wire,
)
from angzarr.config import Config, load
from angzarr.coordinators import StreamCoordinator
from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.projector_service import ProjectorService
from angzarr.cover import Cover
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext
from angzarr.readstores import SqliteReader
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import projector_rpcs

SERVICE = "bank.Statements"
SCHEMA = "CREATE TABLE IF NOT EXISTS line (cents INTEGER)"


@dataclass(frozen=True)
class Deposit:
    cents: int


@dataclass(frozen=True)
class Deposited:
    cents: int


class Account(Aggregate, domain="account"):
    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        return Deposited(cmd.cents)

    @applies
    def deposited(self, event: Deposited) -> None: ...


def add_to_server(servicer: Any, server: Any) -> None:
    """As grpcio-tools generates it."""
    handlers = {
        "Total": grpc.unary_unary_rpc_method_handler(
            servicer.Total,
            request_deserializer=StringValue.FromString,
            response_serializer=Int64Value.SerializeToString,
        )
    }
    server.add_registered_method_handlers(SERVICE, handlers)


class Statements:
    """A query service of the user's own."""

    def __init__(self, db: SqliteReader) -> None:
        self._db = db

    def Total(self, request: StringValue, context: object) -> Int64Value:
        row = self._db.row("SELECT coalesce(sum(cents), 0) FROM line")
        assert row
        return Int64Value(value=row[0])


class Statement(
    Projector,
    source=Account,
    read_store=Sqlite("statement.sqlite", SCHEMA),
    query=Service(add_to_server, Statements),
    synchronous=True,
):
    @projects
    def deposited(self, event: Deposited, db: sqlite3.Connection) -> Deposited:
        db.execute("INSERT INTO line VALUES (?)", (event.cents,))
        return event


class Printed(Projector, source=Account):
    @projects
    def deposited(self, event: Deposited) -> None: ...


def configured(**code: object) -> Config:
    return load(code={key.replace("__", "."): value for key, value in code.items()}, environ={})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The statement's file is the test's own."""
    url = f"sqlite://{tmp_path}/statement.sqlite"
    return configured(projection__projectors={"statement": {"read_store": url}})


class Turns:
    def alone(self, consumer: str, cover: Cover) -> asyncio.Lock:
        return asyncio.Lock()  # type: ignore[return-value]  # an asynchronous context


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with App(Account, store="memory://") as made:
        yield made


async def total(address: str) -> int:
    transport = GrpcTransport(address)
    try:
        answer = await transport.unary(f"/{SERVICE}/Total", b"")
    finally:
        await transport.close()
    return Int64Value.FromString(answer).value


@pytest.mark.spec("DEP-7", "PROJ-1")
async def test_a_query_service_is_served_beside_its_projector(app: App, config: Config) -> None:
    coordinator = projectors.coordinator_of(Statement, app.stores, config)
    await coordinator.open()
    rpcs = projectors.query_rpcs(Statement, config)
    server = Server(rpcs=rpcs, options=ServerOptions(port=0))
    await server.start()

    before = await total(server.addresses[0])
    await app.domain(Account).send("alice", Deposit(500))
    await coordinator.read_log()
    after = await total(server.addresses[0])

    assert (before, after) == (0, 500)
    assert SERVICE in server.services
    await server.stop(0)
    await coordinator.close()


@pytest.mark.spec("DEP-7", "DEP-12")
async def test_a_query_service_needs_nothing_but_the_read_store(app: App, config: Config) -> None:
    """So it may be served by another process than its projector's; clients can't tell."""
    coordinator = projectors.coordinator_of(Statement, app.stores, config)
    await coordinator.open()
    await app.domain(Account).send("alice", Deposit(500))
    await coordinator.read_log()
    await coordinator.close()

    server = Server(rpcs=projectors.query_rpcs(Statement, config), options=ServerOptions(port=0))
    await server.start()

    assert await total(server.addresses[0]) == 500
    await server.stop(0)


@pytest.mark.spec("DEP-7")
async def test_a_query_before_there_is_a_read_model_is_unavailable(config: Config) -> None:
    server = Server(rpcs=projectors.query_rpcs(Statement, config), options=ServerOptions(port=0))
    await server.start()
    async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{SERVICE}/Total")(b"")

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "its projector has not made it yet" in str(caught.value.details())
    await server.stop(0)


@pytest.mark.spec("DEP-7")
def test_without_a_query_service_nothing_is_served(config: Config) -> None:
    assert projectors.query_rpcs(Printed, config) == ()


@pytest.mark.spec("DEP-7")
def test_a_query_service_without_a_read_store_is_given_nothing() -> None:
    made: list[object] = []

    class Bare:
        def __init__(self) -> None:
            made.append(self)

        def Total(self, request: StringValue, context: object) -> Int64Value:
            return Int64Value()

    class Kept(Projector, source="account", query=Service(add_to_server, Bare)):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    (rpc,) = projectors.query_rpcs(Kept, configured())

    assert rpc.path == f"/{SERVICE}/Total"
    assert len(made) == 1


@pytest.mark.spec("PROJ-7", "PROJ-8", "PROJ-12")
async def test_the_coordinators_service_over_grpc(app: App, config: Config) -> None:
    coordinator = projectors.coordinator_of(Statement, app.stores, config)
    await coordinator.open()
    service = ProjectorService([coordinator], Turns())
    server = Server(rpcs=projector_rpcs(service), options=ServerOptions(port=0))
    await server.start()
    sent = await app.domain(Account).send("alice", Deposit(500))
    pages = [event.page for event in sent.events]
    book = wire.EventBook(pages=pages)
    book.cover.domain, book.cover.root.value = "account", sent.cover.root
    transport = GrpcTransport(server.addresses[0])
    path = "/angzarr.ProjectorCoordinatorService/"

    guessed = await transport.unary(
        path + "HandleSpeculative",
        wire.SpeculateProjectorRequest(events=book).SerializeToString(),
    )
    answer = await transport.unary(
        path + "HandleSync", wire.EventRequest(events=book).SerializeToString()
    )
    empty = await transport.unary(path + "Handle", book.SerializeToString())

    for data in (guessed, answer):
        found = wire.Projection.FromString(data)
        assert (found.projector, found.sequence) == ("statement", 0)
        assert found.projection.type_url == "json.angzarr.io/statement.Deposited"
    assert empty == b""
    reader = projectors.read_store_of(Statement, config).reader()
    assert [row["cents"] for row in reader.rows("SELECT cents FROM line")] == [500]
    reader.close()
    await transport.close()
    await server.stop(0)
    await coordinator.close()


@pytest.mark.spec("PROJ-8", "PROJ-9")
async def test_errors_of_projectors_have_their_codes(app: App, config: Config) -> None:
    coordinator = projectors.coordinator_of(Statement, app.stores, config)
    await coordinator.open()
    service = ProjectorService([coordinator], Turns())
    server = Server(rpcs=projector_rpcs(service), options=ServerOptions(port=0))
    await server.start()
    book = wire.EventBook()
    book.cover.domain, book.cover.root.value = "account", bytes(16)
    page = book.pages.add()
    page.header.sequence = 0
    page.event.type_url = "json.angzarr.io/account.Deposited"
    page.event.value = b"no JSON"
    found: list[tuple[object, str | None]] = []

    async def handle() -> None:
        async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
            call = channel.unary_unary("/angzarr.ProjectorCoordinatorService/Handle")
            try:
                await call(book.SerializeToString())
            except grpc.aio.AioRpcError as error:
                found.append((error.code(), error.details()))

    await handle()
    await coordinator.begin_replay()
    await handle()

    assert found[0][0] is grpc.StatusCode.INTERNAL
    assert str(found[0][1]).startswith("Projector statement failed: corrupt data at page 0")
    assert found[1] == (grpc.StatusCode.UNAVAILABLE, "replaying")
    await server.stop(0)
    await coordinator.close()


@pytest.mark.spec("PROJ-11")
@pytest.mark.parametrize(
    ("settings", "is_published"),
    [
        ({}, False),
        ({"projection.stream_output": True}, True),
        ({"projection.projectors": {"statement": {"stream_output": True}}}, True),
        (
            {
                "projection.stream_output": True,
                "projection.projectors": {"statement": {"stream_output": False}},
            },
            False,
        ),
    ],
)
async def test_projections_are_published_where_that_is_configured(
    app: App, tmp_path: Path, settings: dict[str, object], is_published: bool
) -> None:
    config = load(code=settings, environ={})
    cls = _at(tmp_path)
    streams = StreamCoordinator(app.stores.events)
    published: list[bytes] = []
    streams.publish = published.append  # type: ignore[method-assign]
    coordinator = projectors.coordinator_of(cls, app.stores, config, publish=streams.publish)
    await coordinator.open()
    sent = await app.domain(Account).send("alice", Deposit(5))
    book = wire.EventBook(pages=[event.page for event in sent.events])
    book.cover.domain, book.cover.root.value = "account", sent.cover.root

    await coordinator.project(book.SerializeToString(), CallContext())

    assert bool(published) is is_published
    await coordinator.close()


def _at(folder: Path) -> type[Projector]:
    class Moved(
        Projector,
        source=Account,
        name="statement",
        read_store=Sqlite(folder / "statement.sqlite", SCHEMA),
    ):
        @projects
        def deposited(self, event: Deposited, db: sqlite3.Connection) -> Deposited:
            return event

    return Moved


@pytest.mark.spec("PROJ-11", "OPS-9")
@pytest.mark.parametrize(("value", "is_on"), [("true", True), ("1", True), ("false", False)])
def test_the_environments_name_of_0_3_is_known(value: str, is_on: bool) -> None:
    config = load(environ={"STREAM_OUTPUT": value})

    assert config.projection.rule("statement").stream_output is is_on
    assert config.origin("projection.stream_output") == "STREAM_OUTPUT"


@pytest.mark.spec("PROJ-14", "OPS-9")
def test_bounds_are_configured_for_all_and_by_projector() -> None:
    config = configured(
        projection={
            "concurrency": 4,
            "timeout_s": 7.5,
            "gap_pages": 10,
            "batch_books": 20,
            "batch_ms": 30,
            "write_behind_ms": 40,
            "projectors": {"statement": {"concurrency": 1, "timeout_s": 2.0}},
        },
        server={"message_size_kb": 128},
    )

    common = {
        "gap_pages": 10,
        "book_bytes": 65_536,
        "batch_books": 20,
        "batch_s": 0.03,
        "write_behind_s": 0.04,
    }
    assert projectors.options_of(Printed, config) == ProjectorOptions(
        concurrency=4, handle_timeout_s=7.5, **common
    )
    assert projectors.options_of(Statement, config) == ProjectorOptions(
        concurrency=1, handle_timeout_s=2.0, **common
    )


@pytest.mark.spec("PROJ-14")
def test_without_configuration_the_defaults_are_the_specifications() -> None:
    assert projectors.options_of(Statement, configured()) == ProjectorOptions()


def test_a_place_for_rows_can_be_configured(config: Config, tmp_path: Path) -> None:
    assert projectors.read_store_of(Statement, config) == Sqlite(
        tmp_path / "statement.sqlite", SCHEMA
    )
    assert projectors.read_store_of(Statement, configured()) == Sqlite("statement.sqlite", SCHEMA)
    assert projectors.read_store_of(Printed, configured()) is None


@pytest.mark.parametrize(
    ("cls", "url"),
    [(Statement, "postgres://rows"), (Statement, "sqlite://"), (Printed, "sqlite://rows")],
)
def test_a_wrong_place_is_told(cls: type[Projector], url: str) -> None:
    name = cls.projector_table().name
    config = configured(projection__projectors={name: {"read_store": url}})

    with pytest.raises(InvalidInput, match=rf"projection\.projectors\.{name}\.read_store"):
        projectors.read_store_of(cls, config)


def test_upcasters_are_found_among_an_apps_classes() -> None:
    from angzarr import Upcaster, upcasts

    class Lift(Upcaster, domain="account"):
        @upcasts
        def lift(self, old: Deposit) -> Deposited:
            return Deposited(old.cents)

    found = projectors.upcasters_of([Account, Statement, Lift])

    assert list(found) == ["account"]
