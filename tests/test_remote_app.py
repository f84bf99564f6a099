"""An app on the store that another process has open: a split that nobody sees (DEP-11, DEP-12)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from angzarr import Aggregate, App, applies, assembly, command, reject
from angzarr.client import connect
from angzarr.config import load
from angzarr.errors import AngzarrError, InvalidInput, StoreUnavailable
from angzarr.ports.event_store import LogEntry
from angzarr.rpc import store_link
from angzarr.rpc.remote_store import RemoteStores
from angzarr.rpc.server import Server
from angzarr.testing.clock import ManualClock


@dataclass(frozen=True)
class Deposit:
    amount_cents: int


@dataclass(frozen=True)
class Deposited:
    amount_cents: int


class Account(Aggregate, domain="account"):
    balance_cents: int = 0

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        if cmd.amount_cents <= 0:
            reject("deposit a positive amount")
        return Deposited(cmd.amount_cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents


SERVING = health_pb2.HealthCheckResponse(status="SERVING").SerializeToString()
SNAPSHOTS = {"snapshots.every": 2, "snapshots.keep_last": 2}


@asynccontextmanager
async def split(place: str, **settings: object) -> AsyncIterator[tuple[Server, App]]:
    """The server of an app that has the store at `place`, and an app that uses it from afar."""
    clock = ManualClock()
    config = {**SNAPSHOTS, **settings}
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(
            App(Account, store=place, config=config, clock=clock)
        )
        server = await owner.serve(port=0)
        stack.push_async_callback(server.stop, 0)
        store = f"grpc://{server.addresses[0]}"
        user = App(Account, store=store, config=SNAPSHOTS, clock=clock)
        yield server, await stack.enter_async_context(user)


async def live(app: App) -> list[str]:
    """A day of an account, each answer as text."""
    accounts, told = app.domain(Account), list[str]()

    async def try_to(name: str, cents: int, **options: object) -> None:
        here = accounts.on("what-if", divergence=1) if name == "branch" else accounts
        try:
            sent = await here.send(
                "alice",
                Deposit(cents),
                correlation_id="corr-1",
                **options,  # type: ignore[arg-type]
            )
            told.append(f"{name}: {sent.next_sequence} {[e.payload for e in sent.events]}")
        except AngzarrError as error:
            told.append(f"{name}: {type(error).__name__} {error}")

    for cents in (1, 2, 3):
        await try_to("deposit", cents, idempotency=f"deposit-{cents}")
    await try_to("again", 2, idempotency="deposit-2")
    await try_to("nothing", 0, idempotency="deposit-0")
    await try_to("stale", 4, expected_sequence=1, merge="strict")
    await try_to("branch", 5, idempotency="branch")
    for external_id in ("fact-1", "fact-1"):
        fact = await accounts.record(
            "alice", Deposited(7), external_id=external_id, correlation_id="corr-1"
        )
        told.append(f"fact: {fact.next_sequence} {fact.is_duplicate}")
    await try_to("pending", 6, idempotency="pending", cascade_id="casc-1")
    told.append(repr([e async for e in accounts.events("alice")]))
    told.append(repr(await accounts.on("what-if", divergence=1).state("alice")))
    return told


async def log_of(app: App) -> list[LogEntry]:
    return await app.stores.events.tail(0, limit=1_000)


@pytest.mark.spec("DEP-11", "DEP-12")
@pytest.mark.parametrize("scheme", ["memory", "rocksdb"])
async def test_answers_and_stored_bytes_are_those_of_an_app_with_the_store(
    scheme: str, tmp_path: Path
) -> None:
    def place(name: str) -> str:
        return "memory://" if scheme == "memory" else f"rocksdb://{tmp_path}/{name}"

    whole = App(Account, store=place("whole"), config=SNAPSHOTS, clock=ManualClock())
    async with whole:
        wanted, wanted_log = await live(whole), await log_of(whole)

    async with split(place("split")) as (_, user):
        found, found_log = await live(user), await log_of(user)

    assert found == wanted
    assert found_log == wanted_log
    assert len(found_log) > 4


@pytest.mark.spec("DEP-11", "DEP-12")
async def test_both_processes_see_each_others_events() -> None:
    async with split("memory://") as (server, user), connect(server.addresses[0]) as client:
        await client.domain(Account).send("alice", Deposit(1))
        await user.domain(Account).send("alice", Deposit(2))

        assert (await client.domain(Account).state("alice")).balance_cents == 3
        assert (await user.domain(Account).state("alice")).balance_cents == 3


@pytest.mark.spec("DEP-11", "DEP-12", "STO-10")
async def test_deciders_in_two_processes_leave_no_deposit_out() -> None:
    async with split("memory://") as (server, user), connect(server.addresses[0]) as client:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                deciding = (client, user)[number % 2].domain(Account)
                group.create_task(deciding.send("alice", Deposit(1)))

        assert (await user.domain(Account).state("alice")).balance_cents == 20


@pytest.mark.spec("DEP-11", "DEP-12")
async def test_a_live_stream_of_one_process_tells_of_events_of_the_other() -> None:
    async with split("memory://") as (server, user), connect(server.addresses[0]) as client:
        following = user.follow("corr-1")
        first = asyncio.ensure_future(anext(following))
        while not first.done():  # live only: what came before it listened is not told
            await client.domain(Account).send("alice", Deposit(1), correlation_id="corr-1")

        assert first.result().cover.domain == "account"
        await following.aclose()


@pytest.mark.spec("DEP-11")
async def test_a_store_is_not_offered_where_that_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assembly, "STORE_WAIT_S", 0)

    with pytest.raises(StoreUnavailable, match=r"server\.store_access is off"):
        async with split("memory://", **{"server.store_access": "off"}):
            pass


@pytest.mark.spec("DEP-11")
@pytest.mark.parametrize("access", ["local", "any"])
async def test_callers_elsewhere_are_let_in_where_that_is_set(
    monkeypatch: pytest.MonkeyPatch, access: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("angzarr.rpc.services.is_local_peer", lambda _peer: False)
    monkeypatch.setattr(assembly, "STORE_WAIT_S", 0)
    refused = contextlib.nullcontext()
    if access == "local":
        refused = pytest.raises(StoreUnavailable, match="callers on this machine")

    with refused:
        async with split("memory://", **{"server.store_access": access}) as (_, user):
            await user.domain(Account).send("alice", Deposit(1))

    warned = [r for r in caplog.records if "store_access is any" in r.getMessage()]
    assert len(warned) == (access == "any")


@pytest.mark.spec("DEP-11")
async def test_a_process_does_not_offer_a_store_that_is_not_its_own() -> None:
    async with split("memory://") as (_, user):
        server = await user.serve(port=0)
        await server.stop(0)

    assert "angzarr.StoreService" not in server.services


@pytest.mark.spec("DEP-11", "OPS-14")
async def test_a_store_elsewhere_is_announced_by_its_own_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "angzarr"):
        async with split("memory://"):
            pass

    assert len([r for r in caplog.records if "is not durable" in r.getMessage()]) == 1


@pytest.mark.spec("DEP-11", "OPS-2")
async def test_an_app_waits_for_its_store_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    is_told = asyncio.Event()
    async with App(Account, store="memory://") as owner:
        server = await owner.serve(port=0)
        address = server.addresses[0]
        await server.stop(0)
        user = App(Account, store=f"grpc://{address}")
        monkeypatch.setattr(assembly._log, "warning", lambda *_: is_told.set())
        starting = asyncio.create_task(user.start())
        await is_told.wait()
        server = await owner.serve(port=int(address.rpartition(":")[2]))

        await starting

        assert (await user.domain(Account).send("alice", Deposit(1))).next_sequence == 1
        await user.stop()
        await server.stop(0)


@pytest.mark.spec("DEP-11", "OPS-1")
async def test_who_has_lost_a_store_elsewhere_serves_again_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody sends commands to a server that does not serve, so it has to look by itself."""
    monkeypatch.setattr(store_link, "CONNECT_S", 0.2)
    async with App(Account, store="memory://") as owner:
        server = await owner.serve(port=0)
        port = int(server.addresses[0].rpartition(":")[2])
        async with App(Account, store=f"grpc://127.0.0.1:{port}") as user:
            other = await user.serve(port=0)
            await server.stop(0)
            async with connect(other.addresses[0]) as client:
                with pytest.raises(AngzarrError):
                    await client.domain(Account).send("alice", Deposit(1))
            lost = other.health.is_serving()
            server = await owner.serve(port=port)

            channel = grpc.aio.insecure_channel(other.addresses[0])
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
            async for state in watch(b""):
                if state == SERVING:
                    break

            assert (lost, other.health.is_serving()) == (False, True)
            await channel.close()
            await other.stop(0)
        await server.stop(0)


@pytest.mark.spec("DEP-11", "OPS-2")
async def test_a_store_that_does_not_come_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "STORE_WAIT_S", 0)
    monkeypatch.setattr(store_link, "CONNECT_S", 0.2)

    with pytest.raises(StoreUnavailable, match="grpc://127"):
        await App(Account, store="grpc://127.0.0.1:9").start()


@pytest.mark.spec("DEP-11")
@pytest.mark.parametrize(
    ("store", "address", "url"),
    [
        ("grpc://h:1310", "tcp://h:1310", "grpc://h:1310"),
        ("grpc+unix:///run/a.sock", "unix:///run/a.sock", "grpc+unix:///run/a.sock"),
    ],
)
def test_a_stores_url_stands_for_type_and_address(store: str, address: str, url: str) -> None:
    storage = App(Account, store=store).config.storage

    assert (storage.type, storage.address, storage.url) == ("grpc", address, url)


@pytest.mark.spec("DEP-11")
@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("h:1", "grpc://h:1"),
        ("tcp://h:1", "grpc://h:1"),
        ("/run/a.sock", "grpc+unix:///run/a.sock"),
        ("unix:/run/a.sock", "grpc+unix:///run/a.sock"),
    ],
)
async def test_every_spelling_of_an_address_is_one_store(
    address: str, url: str, tmp_path: Path
) -> None:
    settings = {"storage.type": "grpc", "storage.address": address}
    config = load(environ={}, directory=tmp_path, code=settings)

    stores = assembly.open_store(config, ManualClock())

    assert isinstance(stores, RemoteStores)
    assert stores.facts().url == config.storage.url == url
    await stores.close()


@pytest.mark.spec("DEP-11", "OPS-9")
@pytest.mark.parametrize("address", ["", "local", "nowhere", "http://h:1", "unix:relative"])
async def test_an_address_that_is_none_stops_the_start(address: str) -> None:
    settings = {"storage.type": "grpc", "storage.address": address}

    with pytest.raises(InvalidInput, match=r"storage\.address.*tcp://host:port"):
        await App(Account, config=settings).start()
