"""AdminService over a server, with a store that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from angzarr import errors, wire
from angzarr.coordinators.consumers import ConsumerState
from angzarr.coordinators.counters import Counters
from angzarr.ports.components import CallContext
from angzarr.ports.stores import StoreFacts
from angzarr.rpc.admin import Admin
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.rpc.server import Server, ServerOptions

BACKUP = "/angzarr.AdminService/Backup"
STATUS = "/angzarr.AdminService/GetStatus"


class FakeEvents:
    async def log_head(self) -> int:
        return 42


class FakeStores:
    """A store whose backup takes three steps in another thread, as the engine's does."""

    events = FakeEvents()

    def __init__(self) -> None:
        self.targets: list[Path] = []
        self.error: errors.AngzarrError | None = None

    def facts(self) -> StoreFacts:
        return StoreFacts("rocksdb://data", True, 1, 4096, {"flush_us": "150"})

    async def backup(self, target: Path, progress: Callable[[int, int], None]) -> None:
        self.targets.append(target)
        if self.error:
            raise self.error

        def copy() -> None:
            for done_bytes in (10, 20, 30):
                progress(done_bytes, 30)

        await asyncio.to_thread(copy)


@pytest.fixture
def stores() -> FakeStores:
    return FakeStores()


@pytest.fixture
async def transport(stores: FakeStores) -> AsyncIterator[GrpcTransport]:
    server = Server(
        admin=Admin(stores, endpoints={"aggregate:account": "tcp://a:1"}),  # type: ignore[arg-type]
        components=("aggregate:account",),
        options=ServerOptions(port=0, grace_s=0),
    )
    transport = GrpcTransport((await server.start())[0])
    yield transport
    await transport.close()
    await server.stop()


async def backup(transport: GrpcTransport, target: str) -> list[wire.BackupProgress]:
    request = wire.BackupRequest(target=target).SerializeToString()
    return [
        wire.BackupProgress.FromString(data) async for data in transport.stream(BACKUP, request)
    ]


async def test_backup_reports_progress_and_completion(
    transport: GrpcTransport, stores: FakeStores, tmp_path: Path
) -> None:
    steps = await backup(transport, str(tmp_path / "copy"))

    assert stores.targets == [tmp_path / "copy"]
    assert [step.is_complete for step in steps][-1:] == [True]
    assert sum(step.is_complete for step in steps) == 1
    assert (steps[-1].done_bytes, steps[-1].total_bytes) == (30, 30)


async def test_backup_into_a_relative_path_is_refused(
    transport: GrpcTransport, stores: FakeStores
) -> None:
    with pytest.raises(errors.InvalidInput, match="absolute"):
        await backup(transport, "copy")

    assert stores.targets == []


async def test_failed_backup_ends_with_its_error(
    transport: GrpcTransport, stores: FakeStores, tmp_path: Path
) -> None:
    stores.error = errors.StoreUnavailable("data", "disk full")

    with pytest.raises(errors.StoreUnavailable, match="disk full"):
        await backup(transport, str(tmp_path))


async def test_status_tells_store_and_components(transport: GrpcTransport) -> None:
    status = wire.ServerStatus.FromString(await transport.unary(STATUS, b""))

    assert (status.store.url, status.store.size_bytes, status.store.log_head) == (
        "rocksdb://data", 4096, 42,
    )  # fmt: skip
    assert dict(status.store.details) == {"flush_us": "150"}
    assert status.addresses[0].startswith("127.0.0.1:")
    found = {c.name: (c.endpoint, c.is_serving) for c in status.components}
    assert found["aggregate:account"] == ("tcp://a:1", True)


@pytest.mark.spec("SNAP-14")
async def test_status_tells_what_was_counted() -> None:
    counters = Counters()
    counters.add("snapshots.skipped")
    admin = Admin(FakeStores(), counters=counters)  # type: ignore[arg-type]

    status = wire.ServerStatus.FromString(await admin.rpcs()[1].unary(b"", CallContext()))

    assert dict(status.counters) == {
        "editions.reap_failed": 0,
        "editions.reaped": 0,
        "snapshots.failed": 0,
        "snapshots.skipped": 1,
        "snapshots.taken": 0,
    }


async def test_caller_from_another_machine_is_not_permitted(
    transport: GrpcTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("angzarr.rpc.services.is_local_peer", lambda _peer: False)

    with pytest.raises(errors.NotPermitted):
        await transport.unary(STATUS, b"")
    with pytest.raises(errors.NotPermitted):
        await backup(transport, "/tmp/x")


class FakeWorkers:
    """One consumer, and one projector whose replay takes two steps."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def states(self) -> dict[str, ConsumerState]:
        return {"saga-shipping": ConsumerState(40, 2, (0,), 1, "no trucks")}

    async def replay(
        self,
        projector: str,
        *,
        publishes: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if projector != "statement":
            raise errors.InvalidInput("name", "a projector of this process: statement", projector)
        self.asked.append((projector, publishes))
        assert progress is not None
        progress(21, 42)
        await asyncio.sleep(0)
        progress(42, 42)


@asynccontextmanager
async def serving(workers: FakeWorkers | None) -> AsyncIterator[GrpcTransport]:
    admin = Admin(FakeStores(), workers=workers)  # type: ignore[arg-type]
    async with Server(admin=admin, options=ServerOptions(port=0, grace_s=0)) as server:
        transport = GrpcTransport(server.addresses[0])
        yield transport
        await transport.close()


async def replay(transport: GrpcTransport, name: str) -> list[wire.ReplayProgress]:
    request = wire.ReplayProjectorRequest(name=name, publishes=True).SerializeToString()
    stream = transport.stream("/angzarr.AdminService/ReplayProjector", request)
    return [wire.ReplayProgress.FromString(data) async for data in stream]


async def test_status_tells_how_far_each_consumer_is_and_what_it_met() -> None:
    async with serving(FakeWorkers()) as transport:
        status = wire.ServerStatus.FromString(await transport.unary(STATUS, b""))

    assert list(status.consumers) == [
        wire.ConsumerStatus(
            name="saga-shipping",
            position=40,
            lag=2,
            is_leading=True,
            waiting=1,
            last_error="no trucks",
        )
    ]


@pytest.mark.spec("PROJ-9")
async def test_a_replay_reports_progress_and_completion() -> None:
    workers = FakeWorkers()
    async with serving(workers) as transport:
        steps = await replay(transport, "statement")

    assert workers.asked == [("statement", True)]
    assert steps[-1] == wire.ReplayProgress(done=42, total=42, is_complete=True)
    assert sum(step.is_complete for step in steps) == 1


@pytest.mark.spec("PROJ-9")
@pytest.mark.parametrize("workers", [FakeWorkers(), None])
async def test_a_replay_of_an_unknown_projector_is_refused(workers: FakeWorkers | None) -> None:
    async with serving(workers) as transport:
        with pytest.raises(errors.InvalidInput, match="name"):
            await replay(transport, "orders")
