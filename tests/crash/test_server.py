"""A server is killed at random and within commits while clients write to it (STO-47, OPS-3)."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable
from itertools import count
from pathlib import Path
from typing import Final, TypedDict

import pytest
from google.protobuf.any_pb2 import Any
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from harness import ROUNDS, check_log, streams_of
from server_clients import Ledger, Streams, check_requests, executed_in, until_away, use
from server_process import ServerProcess

from angzarr import wire
from angzarr.cli.outcome import OK, UNREACHABLE
from angzarr.client import connect
from angzarr.errors import StorageFailed
from angzarr.examples.bank.full import Account, Deposit, Deposited, Open, Opened
from angzarr.ports.clock import SystemClock
from angzarr.ports.event_store import Limits
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.stores import rocksdb


class Options(TypedDict):
    """Of `open_stores`."""

    sync: bool
    limits: Limits
    clock: SystemClock


SERVER_ROUNDS = max(1, ROUNDS // 4)
"""A server takes most of a second to start; the loops of test_store.py do the other rounds."""
ROUNDS_PER_STORE = 10
ROUND_S_MAX = 60.0
FAILPOINTS = (
    "group.before_write",
    "group.after_write",
    "group.before_ack",
    "group.after_ack",
)
STORE_OPTIONS: Final = Options(sync=True, limits=Limits(), clock=SystemClock())
SLOW = Path(__file__).with_name("server_slow.py")

pytestmark = [pytest.mark.crash, pytest.mark.timeout(max(120, 4 * ROUNDS))]


async def check_store(path: Path, ledger: Ledger) -> Streams:
    """What a server left: looked at in a copy, so that the next server recovers by itself."""
    copy = copied(path)
    stores = rocksdb.open_stores(str(copy), **STORE_OPTIONS)
    try:
        found = await streams_of(stores.events, "account")
        streams = {cover.root: pages for cover, pages in found.items()}
        check_requests(streams, ledger)
        await check_log(stores.events, found)
        assert (await stores.verify()).position == await stores.events.log_head()
    finally:
        await stores.close()
        shutil.rmtree(copy)
    return streams


def copied(path: Path) -> Path:
    """A copy beside it, of nothing if the server was killed before it made the directory."""
    copy = path.with_name(f"{path.name}-copy")
    path.mkdir(exist_ok=True)
    shutil.copytree(path, copy)
    return copy


async def run_round(
    server: ServerProcess, ledger: Ledger, chance: random.Random, end: Awaitable[None]
) -> None:
    """Clients work with a server that starts until `end` is over and the server is gone."""

    async def use_it() -> None:
        if await server.ready():
            await use(server.address, ledger, chance)

    async with asyncio.timeout(ROUND_S_MAX), asyncio.TaskGroup() as group:
        group.create_task(use_it())
        await end
    await server.ended()


async def end_by_kill(server: ServerProcess, ledger: Ledger, chance: random.Random) -> None:
    """Kill -9 at any moment: as it starts, at the first answers, or after many."""
    if chance.random() < 0.2:
        await asyncio.sleep(chance.random() * 0.5)
    else:
        await ledger.reached()
        await asyncio.sleep(chance.random() * 0.005)
    server.signal(signal.SIGKILL)


async def check_served(path: Path, ledger: Ledger, chance: random.Random) -> None:
    """A last server has all that is due, executes nothing twice, and ends in good order."""
    await end_in_order(path, ledger, chance, wanted=50)
    await check_store(path, ledger)


async def end_in_order(path: Path, ledger: Ledger, chance: random.Random, *, wanted: int) -> None:
    """SIGTERM while clients write, once they have so many answers."""

    async def end() -> None:
        await ledger.reached()
        server.signal(signal.SIGTERM)

    async with ServerProcess(path) as server:
        ledger.begin(wanted)
        await run_round(server, ledger, chance, end())
        assert (await server.ended(), server.errors) == (OK, "")


async def nothing() -> None:
    """The server ends by itself."""


@pytest.mark.spec("STO-47", "STO-2", "STO-3", "OPS-3", "CMD-27", "CMD-28", "FACT-3")
@pytest.mark.parametrize("part", range(2))
async def test_a_server_killed_at_random_keeps_its_word(tmp_path: Path, part: int) -> None:
    chance, ledger, path = random.Random(part), Ledger(), tmp_path

    for round_number in range(max(1, SERVER_ROUNDS // 4)):
        if round_number % ROUNDS_PER_STORE == 0:
            path, ledger = tmp_path / f"store-{round_number}", Ledger()
        async with ServerProcess(path) as server:
            ledger.begin(wanted=chance.choice((1, 2, chance.randrange(50), chance.randrange(500))))
            await run_round(server, ledger, chance, end_by_kill(server, ledger, chance))

        await check_store(path, ledger)
    await check_served(path, ledger, chance)


@pytest.mark.spec("STO-47", "STO-2", "STO-3", "OPS-3", "CMD-36")
@pytest.mark.parametrize("name", FAILPOINTS)
async def test_a_server_killed_within_a_commit_keeps_its_word(tmp_path: Path, name: str) -> None:
    chance, ledger, path = random.Random(name), Ledger(), tmp_path

    for round_number in range(max(1, SERVER_ROUNDS // 2 // len(FAILPOINTS))):
        if round_number % ROUNDS_PER_STORE == 0:
            path, ledger = tmp_path / f"store-{round_number}", Ledger()
        hit = chance.choice((1, 2, chance.randrange(3, 200)))
        async with ServerProcess(path, failpoints=f"{name}=kill@{hit}") as server:
            await run_round(server, ledger, chance, nothing())
            assert await server.ended() == -signal.SIGABRT

        await check_store(path, ledger)
    await check_served(path, ledger, chance)


@pytest.mark.spec("STO-47", "STO-2", "OPS-3")
async def test_a_server_killed_while_it_recovers_leaves_that_to_the_next(tmp_path: Path) -> None:
    chance, ledger, path = random.Random(1), Ledger(), tmp_path / "store"

    for _ in range(max(1, SERVER_ROUNDS // 20)):
        async with ServerProcess(path) as server:
            ledger.begin(wanted=chance.randrange(200))
            await run_round(server, ledger, chance, end_by_kill(server, ledger, chance))
        async with ServerProcess(path, failpoints="open.after_recover=kill") as server:
            assert not await server.ready()
            assert await server.ended() == -signal.SIGABRT

        await check_served(path, ledger, chance)


@pytest.mark.spec("OPS-3", "STO-2")
async def test_a_server_killed_right_after_its_answer_has_what_it_answered(tmp_path: Path) -> None:
    answered: list[object] = []

    for amount in range(1, 4):
        async with ServerProcess(tmp_path / "store") as server:
            assert await server.ready()
            async with connect(server.address) as caller:
                account = caller.domain(Account)
                sent = await account.send("alice", Open("alice"), idempotency="open")
                answered = answered or [sent.events[0].payload]
                sent = await account.send("alice", Deposit(amount))
                server.signal(signal.SIGKILL)
            answered.append(sent.events[0].payload)

    async with ServerProcess(tmp_path / "store") as server:
        assert await server.ready()
        async with connect(server.address) as caller:
            events = [event.payload async for event in caller.domain(Account).events("alice")]
    assert events == answered == [Opened("alice", 0), *map(Deposited, (1, 2, 3))]


@pytest.mark.spec("OPS-3")
async def test_sigterm_lets_a_running_call_finish(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "store", app=SLOW) as server:
        assert await server.ready()
        async with connect(server.address) as caller:
            call = asyncio.create_task(caller.domain("account").send("alice", slow_deposit()))
            assert await server.line() == "begun"
            server.signal(signal.SIGTERM)
            await until_refused(server.address)
            assert not call.done()

            server.tell("go on")
            sent = await call

        assert (await server.ended(), server.errors) == (OK, "")
    stores = rocksdb.open_stores(str(tmp_path / "store"), **STORE_OPTIONS)
    try:
        book = await stores.events.load(sent.cover)
    finally:
        await stores.close()
    assert list(wire.EventBook.FromString(book.data).pages) == [event.page for event in sent.events]


@pytest.mark.spec("OPS-3")
async def test_sigterm_executes_nothing_that_it_does_not_answer(tmp_path: Path) -> None:
    chance, ledger, path = random.Random(2), Ledger(), tmp_path / "store"

    await end_in_order(path, ledger, chance, wanted=200)

    streams = await check_store(path, ledger)
    answered = {number for number, request in ledger.requests.items() if request.pages is not None}
    executed = {number for pages in streams.values() for number in executed_in(pages)}
    assert executed == answered


@pytest.mark.spec("STO-60", "STO-47")
async def test_a_second_server_on_a_store_is_refused_with_the_pid_of_the_first(
    tmp_path: Path,
) -> None:
    async with ServerProcess(tmp_path / "store") as first:
        assert await first.ready()

        async with ServerProcess(tmp_path / "store") as second:
            assert await second.ended() == UNREACHABLE

        assert f"process {first.process.pid} has it open" in second.errors
        assert str(tmp_path / "store") in second.errors
        async with connect(first.address) as caller:
            assert (await caller.domain(Account).send("alice", Open("alice"))).sequences == (0,)


class Filled:
    """A server whose disk is full: answered and refused are the facts that were sent to it."""

    def __init__(self, server: ServerProcess, path: Path) -> None:
        self.server, self.path = server, path
        self.answered: dict[str, list[Deposited]] = {}
        self.refusals: list[StorageFailed] = []

    async def fill(self) -> None:
        """Several clients record facts until each is refused."""
        [segment] = (self.path / "wal").glob("*.wal")
        self.server.limit_files(segment.stat().st_size)  # what is allocated may be written

        async def client(root: str) -> None:
            self.answered[root] = []
            async with connect(self.server.address) as caller:
                account = caller.domain(Account)
                for number in count(1):
                    facts = [Deposited(number * 100 + index) for index in range(90)]
                    try:
                        await account.record(root, *facts)
                    except StorageFailed as error:
                        self.refusals.append(error)
                        return
                    self.answered[root] += facts

        async with asyncio.TaskGroup() as group:
            for root in ("alice", "bob", "carol"):
                group.create_task(client(root))


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Filled]:
    async with ServerProcess(tmp_path / "store") as server:
        assert await server.ready()
        async with connect(server.address) as caller:
            await caller.domain(Account).send("zoe", Open("zoe"), idempotency="zoe")
        filled = Filled(server, tmp_path / "store")
        await filled.fill()
        yield filled


async def all_events(address: str) -> dict[str, list[object]]:
    """What a server has of the accounts that were filled."""
    async with connect(address) as caller:
        account = caller.domain(Account)
        return {
            root: [event.payload async for event in account.events(root)]
            for root in ("alice", "bob", "carol")
        }


@pytest.mark.spec("CMD-36", "STO-30")
async def test_a_full_disk_is_answered_with_what_failed_and_where(filled: Filled) -> None:
    [segment] = (filled.path / "wal").glob("*.wal")

    async with connect(filled.server.address) as caller:
        with pytest.raises(StorageFailed) as raised:
            await caller.domain(Account).send("dave", Open("dave"))

    for error in (*filled.refusals, raised.value):
        assert error.work == "persist events"
        assert error.cause.startswith(f"store {filled.path} is unavailable: ")
        assert error.cause.endswith(f"{segment}: File too large (os error 27)")


@pytest.mark.spec("STO-3", "STO-4")
async def test_a_server_on_a_full_disk_goes_on_answering_reads(filled: Filled) -> None:
    assert await all_events(filled.server.address) == filled.answered


@pytest.mark.spec("OPS-1")
async def test_a_server_on_a_full_disk_is_not_serving_whatever_it_still_answers(
    filled: Filled,
) -> None:
    """Once a repeated command, which is answered from what is stored, made it serving again."""
    async with connect(filled.server.address) as caller:
        await caller.domain(Account).send("zoe", Open("zoe"), idempotency="zoe")

    assert await health(filled.server.address) == HealthCheckResponse.NOT_SERVING


@pytest.mark.spec("STO-2", "STO-3", "CMD-36")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_after_a_full_disk_a_new_server_has_what_was_answered_and_nothing_else(
    filled: Filled, number: signal.Signals
) -> None:
    filled.server.signal(number)
    assert await filled.server.ended() in (OK, -signal.SIGKILL)

    async with ServerProcess(filled.path) as server:
        assert await server.ready()
        assert await all_events(server.address) == filled.answered
        async with connect(server.address) as caller:
            assert (await caller.domain(Account).send("dave", Open("dave"))).sequences == (0,)


async def health(address: str) -> int:
    """What the server says of itself as a whole."""
    transport = GrpcTransport(address)
    try:
        request = HealthCheckRequest(service="").SerializeToString()
        answer = await transport.unary("/grpc.health.v1.Health/Check", request)
    finally:
        await transport.close()
    return HealthCheckResponse.FromString(answer).status


async def until_refused(address: str) -> None:
    """Return when the server takes no more calls."""
    async with asyncio.timeout(ROUND_S_MAX):
        with until_away():
            while True:
                await health(address)


def slow_deposit() -> Any:
    """Its class is in the server's module; what travels is its name and its JSON."""
    return Any(type_url="json.angzarr.io/account.Deposit", value=b'{"amount_cents": 5}')
