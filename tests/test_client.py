"""Clients of a server, with and without an event loop."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from angzarr import Aggregate, App, applies, command, connect, connect_sync, reject
from angzarr.errors import CommandRejected, InvalidInput, RemoteError, SequenceMismatch
from angzarr.sync_bridge import LoopThread


@dataclass
class Deposit:
    amount_cents: int


@dataclass
class Wait:
    pass


@dataclass
class Deposited:
    amount_cents: int


class Account(Aggregate, domain="account"):
    balance_cents: int = 0

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        if cmd.amount_cents <= 0:
            reject("deposit a positive amount")
        return Deposited(cmd.amount_cents)

    @command
    async def wait(self, cmd: Wait) -> None:
        await asyncio.Event().wait()

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with App(Account, store="memory://") as app:
        server = await app.serve(port=0)
        yield server.addresses[0]
        await server.stop(0)


async def test_a_client_has_the_same_face_as_the_app(address: str) -> None:
    async with connect(address) as client:
        account = client.domain(Account)
        sent = await account.send("alice", Deposit(5))
        found = [event async for event in account.events("alice")]

        assert tuple(found) == sent.events
        assert await account.state("alice") == Account(balance_cents=5)


async def test_a_refusal_over_the_wire_is_the_domains_error(address: str) -> None:
    async with connect(address) as client:
        with pytest.raises(CommandRejected, match=r"^deposit a positive amount$"):
            await client.domain(Account).send("alice", Deposit(0))


@pytest.mark.spec("COMPAT-19")
async def test_a_mismatch_over_the_wire_says_where_the_stream_is(address: str) -> None:
    async with connect(address) as client:
        account = client.domain(Account)
        await account.send("alice", Deposit(5))

        with pytest.raises(SequenceMismatch) as caught:
            await account.send("alice", Deposit(5), expected_sequence=0, merge="strict")

    assert (caught.value.expected, caught.value.actual) == (0, 1)


async def test_a_deadline_that_passes_is_deadline_exceeded(address: str) -> None:
    async with connect(address) as client:
        with pytest.raises(RemoteError) as caught:
            await client.domain(Account).send("alice", Wait(), timeout_s=0.05)

    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_a_server_that_is_away_is_unavailable_at_the_first_call() -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(RemoteError) as caught:
            await client.domain(Account).send("alice", Deposit(5))

    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("address", ["", "nonsense", "ftp://h:1", "h:x"])
async def test_an_address_that_does_not_parse_is_refused_at_once(address: str) -> None:
    with pytest.raises(InvalidInput, match="endpoint"):
        connect(address)


def test_a_client_for_asyncio_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        connect()


def test_without_an_event_loop_the_same_calls_need_no_await() -> None:
    thread = LoopThread()
    app = App(Account, store="memory://")
    thread.run(app.start())
    server = thread.run(app.serve(port=0))

    with connect_sync(server.addresses[0]) as client:
        account = client.domain(Account)
        account.send("alice", Deposit(5))
        state = account.state("alice")

    thread.run(server.stop(0))
    thread.run(app.stop())
    thread.close()
    assert state == Account(balance_cents=5)


def test_a_loop_thread_that_is_closed_says_so() -> None:
    thread = LoopThread()
    thread.close()
    thread.close()

    async def work() -> None: ...

    with pytest.raises(RuntimeError, match="closed"):
        thread.run(work())
